"""What an operator changes: settings with their bounds, the flow the agent follows, recorded prompts, hypercorn's file.

This room knows types and defaults. It never knows a running call.
"""
