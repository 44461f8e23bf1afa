"""The command line: what it prints, how it ends, and that a mistake is a sentence and no traceback."""

import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import attrs
import pytest
import trio

from conf import settings
from conf.flow_file import FOLDER, load_flow
from conf.prompts import WORDS, load_prompt, read_words
from tests.kit.patience import PATIENCE
from transport import cli
from transport.open_store import open_store
from transport.store import Delivery, Store

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(path.stem for path in FOLDER.glob("*.toml"))
WRONG = """
name = "wrong"
instructions = "Be kind."
start = "begin"

[states.begin]
goal = "Begin."
transitions = [{ when.key = "1", goto = "nowhere" }, { when.key = "2", goto = "end" }]

[states.end]
goal = "End."
final = true
"""


@attrs.frozen
class Ran:
    """How a command ended."""

    status: object
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Run = Callable[..., Ran]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/calls.db"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, url: str) -> Run:
    """Runs a command in an empty folder, with a store of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIODE_STORE_URL", url)
    for name in ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "OPENAI_API_KEY", "CRM_SECRET", "TRIODE_CONFIG"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["triode", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        came = capsys.readouterr()
        return Ran(ended.value.code, came.out, came.err)

    return run


def with_store(url: str, work: Callable[[Store], object]) -> None:
    async def do() -> None:
        with trio.fail_after(PATIENCE):
            async with open_store(url) as store:
                await work(store)  # type: ignore[misc] # it is an async function

    trio.run(do)


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    path = tmp_path / "wrong.toml"
    path.write_text(WRONG, "utf-8")
    return path


# ---------------------------------------------------------------- flows


@pytest.mark.parametrize("flow", ["", *SHIPPED])
def test_a_shipped_flow_is_good(run: Run, flow: str) -> None:
    ran = run("flow", "check", *([flow] if flow else []))
    assert (ran.status, ran.err) == (0, "")
    (line,) = ran.lines
    assert line == f"{FOLDER / (flow or 'appointment')}.toml: good"


def test_the_mistakes_of_a_flow_are_told_one_a_line_with_the_file(run: Run, wrong: Path) -> None:
    ran = run("flow", "check", str(wrong))
    assert ran.status == 1
    *mistakes, last = ran.lines
    assert mistakes
    assert all(line.startswith(f"{wrong}: ") for line in ran.lines)
    assert any("nowhere" in line and "states.begin" in line for line in mistakes)
    assert last == f"{wrong}: {len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}"


@pytest.mark.parametrize(
    ("text", "says"), [("name = ", "not TOML"), ('name = "x"', "instructions"), ("[states.a]\ngaol = 1", "gaol")]
)
def test_a_file_that_is_no_flow_is_one_mistake(run: Run, tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "flow.toml"
    path.write_text(text, "utf-8")
    ran = run("flow", "check", str(path))
    assert ran.status == 1
    assert says in ran.out
    assert str(path) in ran.out


def test_a_file_that_is_not_there_is_a_mistake(run: Run) -> None:
    ran = run("flow", "check", "nowhere.toml")
    assert ran.status == 1
    assert "nowhere.toml" in ran.out
    assert "cannot be read" in ran.out


def test_a_flow_in_python_is_checked_too(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "flow.py"
    path.write_text("raise ValueError('no flow today')", "utf-8")
    ran = run("flow", "check", str(path))
    assert ran.status == 1
    assert "no flow today" in ran.out


@pytest.mark.parametrize("flow", SHIPPED)
def test_a_flow_is_shown_as_mermaid_with_every_state(run: Run, flow: str) -> None:
    ran = run("flow", "show", flow)
    assert (ran.status, ran.err) == (0, "")
    assert ran.lines[0] == "stateDiagram-v2"
    for state in load_flow(flow).states:
        assert f"    {state}: {state}" in ran.out


@pytest.mark.parametrize("flow", SHIPPED)
def test_a_flow_is_drawn_into_a_file(run: Run, tmp_path: Path, flow: str) -> None:
    ran = run("flow", "show", flow, "--svg", "flow.svg")
    assert ran.status == 0
    assert ran.lines == [f"flow.svg: {load_flow(flow).name}, {len(load_flow(flow).states)} states"]
    assert ElementTree.fromstring((tmp_path / "flow.svg").read_text("utf-8")).tag.endswith("svg")


def test_a_flow_that_cannot_be_read_is_not_shown_but_told(run: Run) -> None:
    ran = run("flow", "show", "nowhere.toml")
    assert (ran.status, ran.out) == (cli.BAD_CONFIG, "")
    assert "nowhere.toml" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_flow_with_mistakes_is_shown_or_refused_with_a_sentence(run: Run, wrong: Path) -> None:
    for words in ([], ["--svg", "flow.svg"]):
        ran = run("flow", "show", str(wrong), *words)
        assert ran.status in {0, 1, cli.BAD_CONFIG}
        assert ran.out or ran.err


def test_a_picture_that_cannot_be_written_is_told_with_a_sentence(run: Run) -> None:
    ran = run("flow", "show", "--svg", "nowhere/flow.svg")
    assert ran.status not in {0, None}
    assert "nowhere/flow.svg" in ran.err
    assert "Traceback" not in ran.err


# ---------------------------------------------------------------- prompts


@pytest.fixture
def voice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder with programs; its espeak-ng says a constant."""
    folder = tmp_path / "bin"
    folder.mkdir()
    with wave.open(str(folder / "said.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(b"\x10\x10" * 4000)
    (folder / "espeak-ng").write_text(f'#!/bin/sh\n/bin/cp {folder}/said.wav "$2"\n')
    (folder / "espeak-ng").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_every_prompt_is_listed_with_its_length_its_file_and_its_words(run: Run) -> None:
    ran = run("prompts")
    assert (ran.status, ran.err) == (0, "")
    for line, (name, words) in zip(ran.lines, WORDS.items(), strict=True):
        prompt = load_prompt(name)
        assert line.split()[0] == name
        assert line.endswith(f" {prompt.seconds:.1f} s  {prompt.file}  {words}")


def test_prompts_are_rendered_listed_and_may_be_used_by_a_flow(
    run: Run, voice: Path, tmp_path: Path, wrong: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my.toml").write_text('welcome = "Welcome!"\ngoodbye = "Bye-bye."\n', "utf-8")
    ran = run("prompts", "render", "my.toml", "--out", "clips")
    assert ran == Ran(0, "clips/welcome.ulaw  0.5 s  Welcome!\nclips/goodbye.ulaw  0.5 s  Bye-bye.\n", "")
    wrong.write_text('name = "x"\ninstructions = "x"\ngreeting = "welcome"\n', "utf-8")
    ran = run("flow", "check", str(wrong))
    assert (ran.status, "greeting = 'welcome' is no prompt" in ran.out) == (1, True)
    assert run("flow", "show", str(wrong)).status == 1
    monkeypatch.setenv("TRIODE_AUDIO_PROMPTS", "clips")
    assert run("flow", "check", str(wrong)) == Ran(0, f"{wrong}: good\n", "")
    assert run("flow", "show", str(wrong)).status == 0
    listed = {line.split()[0]: line for line in run("prompts").lines}
    assert listed.keys() == {*WORDS, "welcome"}
    assert listed["goodbye"].endswith(" 0.5 s  clips/goodbye.ulaw  Bye-bye.")


def test_without_a_file_all_shipped_prompts_are_rendered(run: Run, voice: Path) -> None:
    ran = run("prompts", "render", "--out", "clips")
    assert (ran.status, ran.err) == (0, "")
    assert [line.split()[0] for line in ran.lines] == [f"clips/{name}.ulaw" for name in WORDS]
    assert read_words(Path("clips/words.toml")) == WORDS


def test_a_clip_that_is_there_is_not_overwritten_and_that_is_a_failure(run: Run, voice: Path, tmp_path: Path) -> None:
    (tmp_path / "goodbye.ulaw").write_bytes(b"mine")
    ran = run("prompts", "render", "--out", str(tmp_path))
    assert (ran.status, ran.out) == (1, "")
    assert f"{tmp_path}/goodbye.ulaw: there already" in ran.err
    assert (tmp_path / "goodbye.ulaw").read_bytes() == b"mine"
    assert run("prompts", "render", "--out", str(tmp_path), "--force").status == 0
    assert (tmp_path / "goodbye.ulaw").read_bytes() != b"mine"


def test_a_machine_without_a_voice_is_told_what_to_install(run: Run, voice: Path) -> None:
    (voice / "espeak-ng").unlink()
    ran = run("prompts", "render", "--out", "clips")
    assert (ran.status, ran.out) == (1, "")
    assert "install espeak-ng" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_words_or_clips_that_cannot_be_used_are_told_with_a_sentence(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my.toml").write_text("welcome = 5", "utf-8")
    ran = run("prompts", "render", "my.toml", "--out", "clips")
    assert (ran.status, ran.out) == (cli.BAD_CONFIG, "")
    assert "welcome = 5 in my.toml" in ran.err
    monkeypatch.setenv("TRIODE_AUDIO_PROMPTS", "nowhere")
    for words in (["prompts"], ["flow", "check"], ["flow", "show"]):
        ran = run(*words)
        assert (ran.status, ran.out) == (cli.BAD_CONFIG, "")
        assert "audio.prompts = 'nowhere' is no folder" in ran.err


# ---------------------------------------------------------------- the outbox


async def fill(store: Store) -> None:
    for sid, state, due, error in (
        ("CAopen", "open", 1_795_530_600.0, "HTTP 500"),
        ("CAdead", "dead", 0.0, "HTTP 410"),
        ("CAgone", "dead", 0.0, "HTTP 404"),
        ("CAdone", "delivered", 0.0, ""),
    ):
        await store.answered(sid, "+14155550123", "+14155550100")
        await store.promise_delivery(sid, due)
        await store.take_deliveries(due, 60.0, 1)
        await store.settle_delivery(sid, state, due, error, 0.0)


async def nothing(_: Store) -> None:
    await trio.lowlevel.checkpoint()


def test_an_empty_outbox_prints_nothing(run: Run, url: str) -> None:
    with_store(url, nothing)
    assert run("outbox") == Ran(0, "", "")


def test_the_outbox_lists_each_delivery_with_its_state_its_time_and_its_error(run: Run, url: str) -> None:
    with_store(url, fill)
    ran = run("outbox")
    assert ran.status == 0
    rows = {line.split()[0]: line for line in ran.lines}
    assert rows.keys() == {"CAopen", "CAdead", "CAgone", "CAdone"}
    assert "open" in rows["CAopen"]
    assert "2026-11-24 14:30:00" in rows["CAopen"]
    assert "tries 1" in rows["CAopen"]
    assert rows["CAopen"].endswith("HTTP 500")
    assert "1970" not in ran.out  # what is not due has no time
    for state, sids in (("open", {"CAopen"}), ("dead", {"CAdead", "CAgone"}), ("delivered", {"CAdone"})):
        assert {line.split()[0] for line in run("outbox", state).lines} == sids


def states(url: str) -> dict[str, str]:
    found: dict[str, str] = {}

    async def look(store: Store) -> None:
        found.update({each.call_sid: each.state for each in await store.deliveries()})

    with_store(url, look)
    return found


def test_a_dead_letter_is_tried_again_when_asked_for(run: Run, url: str) -> None:
    with_store(url, fill)
    assert run("outbox", "--retry", "CAdead") == Ran(0, "1 to be tried again\n", "")
    assert states(url) == {"CAopen": "open", "CAdead": "open", "CAgone": "dead", "CAdone": "delivered"}
    revived: list[Delivery] = []

    async def look(store: Store) -> None:
        revived.extend(each for each in await store.deliveries("open") if each.call_sid == "CAdead")

    with_store(url, look)
    assert revived[0].tries == 0


def test_all_dead_letters_are_tried_again_at_once(run: Run, url: str) -> None:
    with_store(url, fill)
    assert run("outbox", "--retry", "all") == Ran(0, "2 to be tried again\n", "")
    assert set(states(url).values()) == {"open", "delivered"}
    assert run("outbox", "--retry", "all") == Ran(0, "0 to be tried again\n", "")


@pytest.mark.parametrize("sid", ["CAnobody", "CAdone", "CAopen"])
def test_what_is_not_dead_is_not_tried_again_and_that_is_a_failure(run: Run, url: str, sid: str) -> None:
    with_store(url, fill)
    before = states(url)
    assert run("outbox", "--retry", sid) == Ran(1, "0 to be tried again\n", "")
    assert states(url) == before


def test_an_unknown_state_is_refused(run: Run) -> None:
    ran = run("outbox", "nonsense")
    assert ran.status == 2
    assert "nonsense" in ran.err


# ---------------------------------------------------------------- forgetting


def test_a_number_is_forgotten_and_no_other(run: Run, url: str) -> None:
    async def calls(store: Store) -> None:
        for sid, caller in (("CA1", "+15551110001"), ("CA2", "+15551110001"), ("CA3", "+15551110002")):
            await store.answered(sid, caller, "+14155550100")

    with_store(url, calls)
    assert run("forget", "+15551110001") == Ran(0, "2 calls forgotten\n", "")
    assert run("forget", "+15551110001") == Ran(0, "0 calls forgotten\n", "")

    async def look(store: Store) -> None:
        assert await store.call("CA1") is None
        assert await store.call("CA3") is not None

    with_store(url, look)


@pytest.mark.parametrize("number", ["", "15551110001", "+1 555 111 0001", "(555) 111-0001", "+"])
def test_a_number_under_which_no_call_is_kept_is_not_said_to_be_forgotten(run: Run, number: str):
    ran = run("forget", number)
    assert (ran.status, ran.out) == (2, "")
    assert repr(number) in ran.err
    assert "+15551234567" in ran.err


def test_forgetting_a_number_deletes_the_recordings_of_its_calls_too(
    run: Run, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fill(store: Store) -> None:
        await store.answered("CA1", "+15551110001", "+15550000000")
        await store.answered("CA2", "+15551110002", "+15550000000")

    with_store(url, fill)
    monkeypatch.setenv("TRIODE_SERVER_FLIGHT_FOLDER", str(tmp_path / "flights"))
    (tmp_path / "flights").mkdir()
    for sid in ("CA1", "CA2"):
        (tmp_path / "flights" / f"{sid}-MZ1.flight.jsonl.gz").write_bytes(b"")
    assert run("forget", "+15551110001") == Ran(0, "1 calls forgotten\n1 recordings deleted\n", "")
    assert [file.name for file in (tmp_path / "flights").iterdir()] == ["CA2-MZ1.flight.jsonl.gz"]


WAITING = (
    '["answered","CA1",["CA1","+15551110001","+14155550100"]]',
    '["status","CA1 3",["CA1","completed",3,"",""]]',
    '["record","MZ2",[{"call_sid":"CA2"}]]',
    '["recording","RE2 completed",["RE2","CA2","https://api.example.com/RE2",3,"completed"]]',
)


def test_who_forgets_a_number_where_there_is_no_store_is_told_so_and_gets_no_empty_one(run: Run, url: str) -> None:
    ran = run("forget", "+15551110001")
    assert (ran.status, ran.out) == (cli.BAD_CONFIG, "")
    assert url in ran.err
    assert not Path(url.removeprefix("sqlite:///")).exists()


def test_forgetting_a_number_deletes_what_waits_for_the_store_too(
    run: Run, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fill(store: Store) -> None:
        await store.answered("CA2", "+15551110001", "+14155550100")

    with_store(url, fill)
    monkeypatch.setenv("TRIODE_STORE_UNWRITTEN", str(tmp_path))
    other = WAITING[0].replace("CA1", "CA3").replace("0001", "0002")
    (tmp_path / "1-a.jsonl").write_text("\n".join([*WAITING, other]))
    (tmp_path / "2-b.jsonl").write_text('["haste","CA1",["CA1",50.0]]\n')
    ran = run("forget", "+15551110001")
    assert ran == Ran(0, "5 writes deleted that waited for the store\n1 calls forgotten\n", "")
    assert [(file.name, file.read_text()) for file in tmp_path.glob("*.jsonl")] == [("1-a.jsonl", f"{other}\n")]


def test_what_cannot_be_forgotten_is_told(run: Run, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIODE_STORE_UNWRITTEN", str(tmp_path))
    (tmp_path / "1-a.jsonl").mkdir()
    with_store(url, nothing)
    ran = run("forget", "+15551110001")
    assert (ran.status, ran.out) == (1, "")
    assert "1-a.jsonl" in ran.err


# ---------------------------------------------------------------- settings and the rest


def test_every_setting_is_listed_with_its_variable(run: Run) -> None:
    ran = run("settings")
    assert ran.status == 0
    for section, field in settings.all_settings():
        assert f"{section}.{field.name} = {field.default!r}" in ran.out
        assert f"TRIODE_{section.upper()}_{field.name.upper()}: {field.metadata['doc']}" in ran.out
    assert len(ran.lines) == 2 * len(list(settings.all_settings()))


def test_a_store_that_cannot_be_opened_is_told_with_a_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIODE_STORE_URL", "sqlite:////proc/nowhere/calls.db")
    for words in (["outbox"], ["forget", "+15551110001"]):
        ran = run(*words)
        assert (ran.status, ran.out) == (cli.BAD_CONFIG, "")
        assert "the store cannot be used" in ran.err


def test_a_wrong_setting_is_told_with_a_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIODE_STORE_URL", "mysql://nowhere")
    ran = run("outbox")
    assert ran.status == cli.BAD_CONFIG
    assert "TRIODE_STORE_URL" in ran.err
    assert "mysql://nowhere" in ran.err


@pytest.mark.parametrize("words", [["demo"], ["demo", "--crash"]])
def test_a_demo_with_a_wrong_setting_is_refused_with_a_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setenv("TRIODE_CALL_MAX_SILENCE", "soon")
    ran = run(*words)
    assert (ran.status, ran.out) == (cli.BAD_CONFIG, "")
    assert "TRIODE_CALL_MAX_SILENCE" in ran.err
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize("text", [None, "[server"], ids=["not there", "no TOML"])
def test_a_settings_file_that_cannot_be_used_is_told_with_a_sentence(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    path = tmp_path / "other.toml"
    if text is not None:
        path.write_text(text, "utf-8")
    monkeypatch.setenv("TRIODE_CONFIG", str(path))
    ran = run("outbox")
    assert ran.status == cli.BAD_CONFIG
    assert str(path) in ran.err


@pytest.mark.parametrize(
    "words", [[], ["flow"], ["dance"], ["forget"], ["flow", "show", "--svg"], ["demo", "--crash", "--flow", "x"]]
)
def test_a_command_that_does_not_exist_is_refused_with_its_usage(run: Run, words: list[str]) -> None:
    ran = run(*words)
    assert (ran.status, ran.out) == (2, "")
    assert "usage: triode" in ran.err


@pytest.mark.parametrize("words", [["--seeds", "0"], ["--seeds", "-5"], ["--seeds", "x"], ["--faults", ","]])
def test_a_simulation_of_nothing_is_no_success(run: Run, words: list[str]) -> None:
    ran = run("sim", *words)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err


@pytest.mark.parametrize("ms", ["-1", "nan", "inf", "forty"])
def test_a_tolerance_by_which_everything_or_nothing_is_alike_is_refused(run: Run, ms: str) -> None:
    ran = run("replay", "a.flight.jsonl.gz", "--tolerance", ms)
    assert ran.status == 2
    assert f"{ms!r} is no tolerance" in ran.err


def test_who_reads_only_the_beginning_of_what_is_printed_sees_no_traceback() -> None:
    code = "from transport import cli; cli.main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "settings"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == cli.BROKEN_PIPE


def test_an_interrupt_from_the_keyboard_ends_it_quietly(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "list_settings", interrupted)
    assert run("settings") == Ran(130, "", "")


def test_as_a_process_it_is_the_same(wrong: Path) -> None:
    program = "from transport.cli import main; main()"
    ran = subprocess.run(
        [sys.executable, "-c", program, "flow", "check", str(wrong)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (1, "")
    assert "nowhere" in ran.stdout
