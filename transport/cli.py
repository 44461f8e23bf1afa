"""`triode`, the command line for people. hypercorn needs nothing of it."""

import argparse
import math
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from conf import settings

BAD_CONFIG = 78
"""EX_CONFIG."""
BROKEN_PIPE = 141
"""As a shell says of who was ended by SIGPIPE."""


def main() -> None:
    """Runs the command and exits with its status."""
    arguments = _parser().parse_args()
    try:
        status = arguments.run(arguments)
        sys.stdout.flush()
        sys.exit(status)
    except settings.SettingsError as error:
        print(f"triode cannot start: {error}", file=sys.stderr)
        sys.exit(BAD_CONFIG)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever reads has enough, as `head` has; and the interpreter flushes once more as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="triode", description="A realtime phone-agent server.")
    commands = parser.add_subparsers(required=True)
    demo = commands.add_parser("demo", help="play one whole call on this machine; needs no account")
    demo.add_argument("--json", action="store_true", help="print the call's record as JSON and nothing else")
    which = demo.add_mutually_exclusive_group()
    which.add_argument("--flow", default="", help="appointment (the default) or after_hours")
    which.add_argument("--crash", action="store_true", help="two servers; the one that has the caller is killed")
    demo.set_defaults(run=_demo)
    sim = commands.add_parser("sim", help="simulate whole calls from seeds, with faults; status 1 if one goes wrong")
    sim.add_argument("--seeds", type=_positive, default=100, metavar="N", help="how many (100)")
    sim.add_argument("--first", type=int, default=0, metavar="SEED", help="the first of them (0)")
    sim.add_argument("--faults", default="", metavar="KIND,…", help="only these kinds of fault; `list` names them")
    sim.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (one a processor)")
    sim.set_defaults(run=_simulate)
    replay = commands.add_parser("replay", help="play a recorded call again on today's code; status 1 if it differs")
    replay.add_argument("file", help="a recording of server.flight_folder")
    replay.add_argument("--flow", default="", help="today's flow file, if it is neither shipped nor in the settings")
    replay.add_argument(
        "--tolerance", type=_tolerance, default=40, metavar="MS", help="how far times may be off (40 ms)"
    )
    replay.add_argument("--json", action="store_true", help="print the differences as JSON and nothing else")
    replay.set_defaults(run=_replay)
    listing = commands.add_parser("settings", help="list every setting with its default, its bounds and its meaning")
    listing.set_defaults(run=lambda _: list_settings())

    flow = commands.add_parser("flow", help="check a flow, or draw it").add_subparsers(required=True)
    check = flow.add_parser("check", help="find the mistakes in a flow; status 1 if there are any")
    check.add_argument("flow", nargs="?", default="", help="a file, or the name of a shipped flow")
    check.set_defaults(run=_check_flow)
    show = flow.add_parser("show", help="draw a flow: Mermaid text, or an SVG file")
    show.add_argument("flow", nargs="?", default="", help="a file, or the name of a shipped flow")
    show.add_argument("--svg", metavar="FILE", help="write a picture there instead of printing Mermaid")
    show.set_defaults(run=_show_flow)

    prompts = commands.add_parser("prompts", help="list the recorded prompts, or render your own")
    prompts.set_defaults(run=_list_prompts)
    render = prompts.add_subparsers().add_parser("render", help="make clips from words, with a voice of this machine")
    render.add_argument(
        "file", nargs="?", metavar="FILE.toml", help='these and no others: NAME = "words"; else all shipped'
    )
    render.add_argument("--out", required=True, metavar="DIR", help="the folder for the clips and their words.toml")
    render.add_argument("--voice", default="", metavar="V", help="as the engine calls it; for piper a model, V.onnx")
    render.add_argument(
        "--engine", default="", metavar="NAME", help="espeak-ng, espeak, piper, say, flite or pico2wave"
    )
    render.add_argument("--force", action="store_true", help="overwrite clips that are there already")
    render.set_defaults(run=_render_prompts)

    outbox = commands.add_parser("outbox", help="what is still to be delivered to the backend, and what is given up")
    outbox.add_argument("state", nargs="?", default="", choices=["", "open", "dead", "delivered"])
    outbox.add_argument("--retry", metavar="CALLSID", help="try a dead one again; `all` for every one")
    outbox.set_defaults(run=_outbox)
    forget = commands.add_parser("forget", help="delete all that is kept of the calls of one number")
    forget.add_argument("number", type=_number, help="as +15551234567")
    forget.set_defaults(run=_forget)
    return parser


def _positive(text: str) -> int:
    """A check of nothing would find nothing wrong."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of calls: allowed is 1 or more")
    return int(text)


def _tolerance(text: str) -> float:
    """To what is no number everything is alike."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no tolerance: allowed are milliseconds from 0")
    return value


def _number(text: str) -> str:
    """A caller as the store knows them. No call is kept under a number that is written otherwise: none would be deleted."""
    if re.fullmatch(r"[\d\s()./+-]*", text) and not re.fullmatch(r"\+\d{3,15}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number with its country, without blanks, as +15551234567")
    return text


def _demo(arguments: argparse.Namespace) -> int:
    from transport import demo, demo_crash  # the server's libraries, only for those who need them

    if arguments.crash:
        return demo_crash.run(arguments.json)
    return demo.run(arguments.json, arguments.flow)


def _simulate(arguments: argparse.Namespace) -> int:
    from transport.loopback import sim_report

    return sim_report.run(arguments.first, arguments.seeds, arguments.faults, arguments.jobs)


def _replay(arguments: argparse.Namespace) -> int:
    from transport import replay

    return replay.run(Path(arguments.file), arguments.flow, arguments.tolerance / 1000, arguments.json)


def _chosen() -> settings.Settings:
    """The settings without secrets, which only a server needs."""
    path = settings.config_path(os.environ)
    return settings.from_document(settings.read_document(path), os.environ, str(path))


def list_settings() -> int:
    """One line a key, and its meaning below."""
    for section, field in settings.all_settings():
        print(f"{section}.{field.name} = {field.default!r}   ({field.metadata['allowed']})")
        print(f"    TRIODE_{section.upper()}_{field.name.upper()}: {field.metadata['doc']}")
    return 0


# ---------------------------------------------------------------- flows


def _check_flow(arguments: argparse.Namespace) -> int:
    from conf.flow_check import problems
    from conf.flow_file import path_of, read_flow
    from conf.prompts import load_prompts

    path, prompts = path_of(arguments.flow), load_prompts(_chosen().audio.prompts)
    try:
        found = problems(read_flow(arguments.flow), prompts)
    except settings.SettingsError as error:
        found = [str(error)]
    for problem in found:
        print(f"{path}: {problem}")
    print(f"{path}: {len(found)} mistake{'s' if len(found) > 1 else ''}" if found else f"{path}: good")
    return 1 if found else 0


def _show_flow(arguments: argparse.Namespace) -> int:
    from conf import flow_picture
    from conf.flow_check import problems
    from conf.flow_file import path_of, read_flow
    from conf.prompts import load_prompts

    flow = read_flow(arguments.flow)
    if found := problems(flow, load_prompts(_chosen().audio.prompts)):
        for problem in found:
            print(f"{path_of(arguments.flow)}: {problem}", file=sys.stderr)
        return 1
    if not arguments.svg:
        print(flow_picture.mermaid(flow), end="")
        return 0
    try:
        Path(arguments.svg).write_text(flow_picture.svg(flow), "utf-8")
    except OSError as error:
        print(f"{arguments.svg} cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    print(f"{arguments.svg}: {flow.name}, {len(flow.states)} states")
    return 0


# ---------------------------------------------------------------- prompts


def _list_prompts(_: argparse.Namespace) -> int:
    from conf.prompts import load_prompts

    for name, prompt in load_prompts(_chosen().audio.prompts).items():
        print(f"{name:<16}  {prompt.seconds:4.1f} s  {prompt.file}  {prompt.words}")
    return 0


def _render_prompts(arguments: argparse.Namespace) -> int:
    from conf.prompts import WORDS, read_words
    from transport import prompt_voice

    words = read_words(Path(arguments.file)) if arguments.file else WORDS
    out, voice, engine = Path(arguments.out), arguments.voice, arguments.engine
    try:
        made = prompt_voice.render(words, out, voice=voice, engine=engine, force=arguments.force)
    except prompt_voice.CannotRender as error:
        print(error, file=sys.stderr)
        return 1
    for prompt in made:
        print(f"{prompt.file}  {prompt.seconds:.1f} s  {prompt.words}")
    return 0


# ---------------------------------------------------------------- what is kept


def _with_store(work: Callable[..., Awaitable[int]]) -> int:
    """Runs `work` with the store of the settings; secrets are not needed for that."""
    import trio

    from transport.open_store import open_store
    from transport.store import StoreDown

    url = _chosen().store.url
    file = url.removeprefix("sqlite:///").partition("?")[0]
    if url.startswith("sqlite:///") and not Path(file).exists():  # a new one would be empty, and "0 calls" not true
        where = f"store.url = {url!r} is not there, seen from {Path.cwd()}: run this as the server is run"
        print(f"the store cannot be used: {where}", file=sys.stderr)
        return BAD_CONFIG

    async def run() -> int:
        async with open_store(url) as store:
            return await work(store)

    try:
        return trio.run(run)
    except StoreDown as error:
        print(f"the store cannot be used: {error}", file=sys.stderr)
        return BAD_CONFIG


def _outbox(arguments: argparse.Namespace) -> int:
    from transport.store import Store

    async def work(store: Store) -> int:
        if arguments.retry:
            dead = [each.call_sid for each in await store.deliveries("dead")]
            chosen = dead if arguments.retry == "all" else [arguments.retry]
            revived = [sid for sid in chosen if await store.revive_delivery(sid, time.time())]
            print(f"{len(revived)} to be tried again")
            return 0 if revived or arguments.retry == "all" else 1
        for each in await store.deliveries(arguments.state):
            due = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(each.due)) if each.state == "open" else "-"
            print(f"{each.call_sid}  {each.state:<9}  due {due:<19}  tries {each.tries:<3} {each.error}")
        return 0

    return _with_store(work)


def _forget(arguments: argparse.Namespace) -> int:
    from transport import unwritten
    from transport.flight_folder import forget_unknown
    from transport.store import Store

    number, chosen = arguments.number, _chosen()

    async def work(store: Store) -> int:
        if chosen.store.unwritten:
            waiting = Path(chosen.store.unwritten)
            calls = unwritten.calls(waiting)
            its_own = [sid for sid in calls if (await store.call(sid) or {}).get("caller") == number]
            if gone := unwritten.forget(waiting, number, its_own):
                print(f"{gone} writes deleted that waited for the store")
        print(f"{await store.forget_number(number)} calls forgotten")
        if folder := chosen.server.flight_folder:
            print(f"{await forget_unknown(Path(folder), store.call)} recordings deleted")
        return 0

    async def or_tell(store: Store) -> int:
        try:
            return await work(store)
        except OSError as error:
            print(f"not all could be deleted: {error}", file=sys.stderr)
            return 1

    return _with_store(or_tell)
