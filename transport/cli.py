"""`triode`, the command line for people. hypercorn needs nothing of it."""

import argparse
import sys

from conf import settings


def main() -> None:
    """Runs the command and exits with its status."""
    parser = argparse.ArgumentParser(prog="triode", description="A realtime phone-agent server.")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="play one whole call on this machine; needs no account")
    demo.add_argument("--json", action="store_true", help="print the call's record as JSON and nothing else")
    commands.add_parser("settings", help="list every setting with its default, its bounds and its meaning")
    arguments = parser.parse_args()
    if arguments.command == "settings":
        list_settings()
        sys.exit(0)
    from transport import demo as demo_call  # the server's libraries, only for those who need them

    try:
        sys.exit(demo_call.run(arguments.json))
    except settings.SettingsError as error:
        print(f"triode cannot start: {error}", file=sys.stderr)
        sys.exit(78)
    except KeyboardInterrupt:
        sys.exit(130)


def list_settings() -> None:
    """One line a key, and its meaning below."""
    for section, field in settings.all_settings():
        print(f"{section}.{field.name} = {field.default!r}   ({field.metadata['allowed']})")
        print(f"    TRIODE_{section.upper()}_{field.name.upper()}: {field.metadata['doc']}")
