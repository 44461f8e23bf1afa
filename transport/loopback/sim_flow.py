"""The flow of simulated calls whose tools are slow or fail: the appointment flow, with a tool that does as it is told."""

import attrs
import trio

from conf.flow_file import read_flow
from conf.flow_python import PythonFlow

flow = PythonFlow("appointment")


@flow.tool("Finds free times.", seconds=5.0)
async def free_times(takes: float = 0.0, fails: bool = False) -> dict[str, object]:
    """Takes so many seconds, and fails if it is told to."""
    await trio.sleep(takes)
    if fails:
        raise ConnectionError("the calendar cannot be reached")
    return {"times": ["Tuesday at three", "Thursday at ten"]}


for _name, _state in read_flow("appointment").states.items():
    _fields = attrs.asdict(_state, recurse=False)
    _router = _fields.pop("router")
    _tools = () if _state.final else ("free_times",)
    flow.state(_name, **{**_fields, "tools": (*_state.tools, *_tools)})(_router)
