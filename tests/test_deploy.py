"""The files of ``deploy/`` are well-formed, agree with the package, and do what docs/cluster.md says."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from blender_scenes.spec import RenderSettings
from render.farm.layout import Resources, layout_on_nodes, worker_memory
from tools.cli import app

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
PAGE = (ROOT / "docs/cluster.md").read_text()
TEXTS = {"docs/cluster.md": PAGE} | {f"deploy/{path.name}": path.read_text() for path in sorted(DEPLOY.iterdir())}
SCRIPTS = sorted(name for name in TEXTS if name.endswith(".sh"))
DOCKERFILE = re.sub(r"\\\n\s*", "", TEXTS["deploy/Dockerfile"])
CLUSTER = yaml.safe_load(TEXTS["deploy/ray-cluster.yaml"])
CLAIM, JOB = yaml.safe_load_all(TEXTS["deploy/rayjob.yaml"])
PINNED = dict(line.split("==") for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line)
BL30K = RenderSettings(width=768, height=512, frames=160)
GIB = 2**30


def calls(program: str, text: str) -> list[tuple[str, list[str]]]:
    """Each command of ``program`` in a text, and the options it is called with."""
    text = re.sub(r"\\\n\s*", " ", text)
    found = re.findall(rf"(?<![\w/.-]){program} (?!{program})([a-z][a-z-]*)\b([^\n`|;&)]*)", text)
    return [(command, re.findall(r"(?<!\S)--[a-z][a-z-]*", rest)) for command, rest in found]


def options_of(command: Any) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("name", TEXTS)
def test_every_command_and_option_exists(name: str) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for command, options in calls("vosforge", TEXTS[name]):
        assert command in commands, command
        assert set(options) <= options_of(commands[command]) | {"--help"}, command


def test_the_commands_are_found() -> None:
    found = {name: [command for command, _ in calls("vosforge", text)] for name, text in TEXTS.items()}
    for name in ("deploy/Dockerfile", "deploy/rayjob.yaml", *SCRIPTS):
        assert "render" in found[name], name
    assert ("render", ["--part", "--workers", "--threads"]) in calls("vosforge", TEXTS["deploy/slurm-array.sh"])


def test_every_option_of_ray_exists() -> None:
    scripts = pytest.importorskip("ray.scripts.scripts")
    known = options_of(scripts.start)
    of_node = re.findall(r"--[a-z][a-z-]*", TEXTS["deploy/slurm-ray.sh"].split("node='")[1].split("\nray=$!")[0])
    of_srun = {"--export", "--ntasks", "--ntasks-per-node", "--cpus-per-task", "--kill-on-bad-exit"}
    started = [set(of_node) - of_srun]
    for line in CLUSTER["head_start_ray_commands"] + CLUSTER["worker_start_ray_commands"]:
        started += [set(options) for command, options in calls("ray", line) if command == "start"]
    for group in (JOB["spec"]["rayClusterSpec"]["headGroupSpec"], *JOB["spec"]["rayClusterSpec"]["workerGroupSpecs"]):
        started.append({f"--{name}" for name in group["rayStartParams"]})
    assert len(started) == 5 and all(started)
    for options in started:
        assert options <= known, options - known


def test_the_page_names_every_file_and_no_other() -> None:
    named = set(re.findall(r"\bdeploy/[\w.-]*\w", PAGE))
    assert named == set(TEXTS) - {"docs/cluster.md"}


def test_the_image_has_what_rendering_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    copied = [line.split()[1:] for line in DOCKERFILE.splitlines() if line.startswith("COPY")]
    sources = {source for *some, _ in copied for source in some}
    assert all((ROOT / source).exists() for source in sources)
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages | {"pyproject.toml", "README.md", "LICENSE"} <= sources
    assert "RUN sh /tmp/system_libraries.sh" in DOCKERFILE and "tools/system_libraries.sh" in sources
    [left_out] = re.findall(r"grep -vE '\^\((\S+)\)=='", DOCKERFILE)
    assert set(left_out.split("|")) <= PINNED.keys()
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["project"]["dependencies"], *extras["render"], *extras["cluster"], *extras["report"]]
    names = {re.split(r"[^\w-]", requirement)[0] for requirement in wanted}
    assert names & set(left_out.split("|")) == {"torch", "torchvision", "tensorboard"}
    assert names <= PINNED.keys()
    assert re.search(r"^FROM python:3\.11-slim", DOCKERFILE, re.MULTILINE)  # bpy's Python
    assert DOCKERFILE.index("USER vosforge") > DOCKERFILE.rindex("RUN ")
    assert "VOSFORGE_CACHE=/cache" in DOCKERFILE and "VOLUME /cache" in DOCKERFILE


def test_rendering_needs_nothing_that_the_image_leaves_out() -> None:
    pytest.importorskip("ray")
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'torchvision', 'tensorboard')))\n"
        "import tools.cli, tools.commands.rendering, render.farm.cluster, render.farm.threads, render.blender.worker\n"
        "import tools.inspect.verification, tools.inspect.stats\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_ray_cluster_fits_ray_s_schema() -> None:
    jsonschema, ray = pytest.importorskip("jsonschema"), pytest.importorskip("ray")
    schema = Path(ray.__file__).parent / "autoscaler/ray-schema.json"
    if not schema.exists():
        pytest.skip("this Ray has no schema")
    jsonschema.validate(CLUSTER, json.loads(schema.read_text()))


def test_the_ray_cluster_is_complete() -> None:
    head, worker = (CLUSTER["available_node_types"][name] for name in ("head", "worker"))
    assert CLUSTER["head_node_type"] == "head" and head["resources"] == {"CPU": 0}
    assert worker["min_workers"] == worker["max_workers"] == CLUSTER["max_workers"]
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in head["node_config"]
    options = " ".join(CLUSTER["docker"]["run_options"])
    [(machine, container)] = re.findall(r"--volume (\S+):(\S+)", options)
    assert any("mount -t nfs4 " in line and line.endswith(f" {machine}") for line in CLUSTER["initialization_commands"])
    assert f"VOSFORGE_CACHE={container}/" in options and "RAY_AUTH_MODE=token" in options
    assert "/home/vosforge/.ray/auth_token" in CLUSTER["file_mounts"]


def test_the_rayjob_is_complete() -> None:
    assert (JOB["apiVersion"], JOB["kind"]) == ("ray.io/v1", "RayJob")
    spec, cluster = JOB["spec"], JOB["spec"]["rayClusterSpec"]
    assert spec["submissionMode"] == "HTTPMode"  # the other modes quote the entrypoint anew, and lose the code
    assert spec["entrypoint"].startswith("vosforge render /shared/") and "--address auto" in spec["entrypoint"]
    assert spec["backoffLimit"] > 0 and spec["shutdownAfterJobFinishes"]
    assert cluster["rayVersion"] == PINNED["ray"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert CLAIM["kind"] == "PersistentVolumeClaim" and CLAIM["spec"]["accessModes"] == ["ReadWriteMany"]
    [workers] = cluster["workerGroupSpecs"]
    assert workers["replicas"] == workers["minReplicas"] == workers["maxReplicas"]
    groups = [cluster["headGroupSpec"], workers]
    for pod in (group["template"]["spec"] for group in groups):
        [container] = pod["containers"]
        [volume] = pod["volumes"]
        assert volume["persistentVolumeClaim"]["claimName"] == CLAIM["metadata"]["name"]
        assert container["volumeMounts"] == [{"name": volume["name"], "mountPath": "/shared"}]
        assert container["env"] == [{"name": "VOSFORGE_CACHE", "value": "/shared/cache"}]
        assert container["resources"]["requests"] == container["resources"]["limits"]
    images = {group["template"]["spec"]["containers"][0]["image"] for group in groups}
    assert images == {CLUSTER["docker"]["image"]}


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (1, 1), (2, 1), (3, 0)])
def test_the_rayjob_tries_again_unless_only_quarantined_videos_are_missing(code: int, ends: int) -> None:
    line = re.sub(r"vosforge [^|]*", f"(exit {code}) ", JOB["spec"]["entrypoint"])
    assert subprocess.run(line, shell=True, check=False).returncode == ends  # as Ray's job supervisor runs it


def test_a_pod_has_room_for_a_process_per_core() -> None:
    [workers] = JOB["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    limits = workers["template"]["spec"]["containers"][0]["resources"]["limits"]
    memory, store = (int(workers["rayStartParams"][name]) for name in ("memory", "object-store-memory"))
    assert memory + store + GIB <= int(limits["memory"].removesuffix("Gi")) * GIB
    node = {"Alive": True, "Resources": {"CPU": float(limits["cpu"]), "memory": float(memory)}}
    assert layout_on_nodes(Resources(), [node], 1000, worker_memory(BL30K)).workers == int(limits["cpu"])


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_slurm_task_has_room_for_a_process_per_core(name: str) -> None:
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", TEXTS[name], re.MULTILINE))
    cores, each = int(asked["cpus-per-task"]), int(asked["mem-per-cpu"].removesuffix("G")) * GIB
    assert (cores * each - 2 * GIB) // worker_memory(BL30K) >= cores
    assert "#SBATCH --requeue\n" in TEXTS[name] and asked["signal"].startswith("B:USR1@")


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_parse(name: str) -> None:
    subprocess.run(["bash", "-n", ROOT / name], check=True)


@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_finds_nothing(name: str) -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    subprocess.run(["shellcheck", ROOT / name], check=True)


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """A folder of stand-ins for the programs that the scripts call; each notes how it was called in ``calls``."""
    note = f'#!/bin/bash\necho "$(basename "$0") $*" >> {tmp_path}/calls\n'
    waiting = "trap 'kill $! 2>/dev/null; exit 143' TERM\ntouch {}\nsleep 60 & wait\n"
    render = f'[ "$CODE" != wait ] && exit "$CODE"\n{waiting.format(tmp_path / "waits")}'
    run = 'while [[ $1 == --* ]]; do shift; done\nexport SLURM_NODEID=$NODE\nexec "$@"\n'
    stands = {"scontrol": "", "vosforge": render, "srun": run, "ray": waiting.format(tmp_path / "ray-waits")}
    stands["hostname"] = "echo 127.0.0.1 192.0.2.1"
    stands["python"] = f"until [ -e {tmp_path}/ray-waits ]; do sleep 0.05; done"  # as it waits for the nodes
    for name, does in stands.items():
        (tmp_path / name).write_text(note + does)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def start(stage: Path, script: str, *words: str, code: int | str, **settings: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PATH": f"{stage}:{os.environ['PATH']}", "CODE": str(code), **settings}
    return subprocess.Popen(["bash", DEPLOY / script, *words], env=environment, text=True, stdout=subprocess.PIPE)


def task(stage: Path, code: int | str, restarts: int = 0) -> "subprocess.Popen[str]":
    settings = {"SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "7", "SLURM_CPUS_PER_TASK": "8"}
    settings["SLURM_RESTART_COUNT"] = str(restarts)
    return start(stage, "slurm-array.sh", "runs/data", "40", "--any-renderer", code=code, **settings)


def called(stage: Path, program: str) -> list[str]:
    return [line for line in (stage / "calls").read_text().splitlines() if line.startswith(program)]


@pytest.mark.parametrize(
    ("code", "restarts", "ends", "requeued"),
    [(0, 0, 0, False), (3, 0, 0, False), (1, 0, 1, True), (1, 5, 1, False), (2, 0, 2, False), (137, 0, 137, False)],
)
def test_a_task_of_the_array_acts_on_the_exit_code(
    stage: Path, code: int, restarts: int, ends: int, requeued: bool
) -> None:
    assert task(stage, code, restarts).wait(120) == ends
    assert called(stage, "vosforge") == ["vosforge render runs/data --part 7/40 --workers 8 --threads 1 --any-renderer"]
    assert called(stage, "scontrol") == ["scontrol requeue 12_7"] * requeued


@pytest.mark.parametrize(("sent", "requeued"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_a_task_of_the_array_stops_its_render_when_told(stage: Path, sent: signal.Signals, requeued: bool) -> None:
    process = task(stage, "wait", restarts=9)
    wait_for(stage / "waits")
    process.send_signal(sent)
    assert process.wait(120) == 143
    assert called(stage, "scontrol") == ["scontrol requeue 12_7"] * requeued


@pytest.mark.parametrize(("code", "ends", "requeued", "node"), [(0, 0, False, 0), (3, 0, False, 1), (1, 1, True, 0)])
def test_ray_over_an_allocation_ends_with_the_render(
    stage: Path, code: int, ends: int, requeued: bool, node: int
) -> None:
    with closing(socket.socket()) as head:
        number = next(number for number in range(90_000, 96_000) if free(head, 10_000 + number % 6000 * 3))
        head.listen()
        port, folder = 10_000 + number % 6000 * 3, f"/tmp/vosforge-{number}"
        settings = {"SLURM_JOB_ID": str(number), "SLURM_JOB_NUM_NODES": "1", "SLURM_CPUS_PER_TASK": "16"}
        settings["NODE"] = str(node)
        process = start(stage, "slurm-ray.sh", "runs/data", "--videos", "9", code=code, **settings)
        assert process.wait(120) == ends
    assert called(stage, "vosforge") == [f"vosforge render runs/data --address 127.0.0.1:{port} --videos 9"]
    assert called(stage, "scontrol") == [f"scontrol requeue {number}"] * requeued
    [ray] = called(stage, "ray ")
    assert (f"--head --node-ip-address=127.0.0.1 --port={port} " in ray) == (node == 0)
    assert (f"--address=127.0.0.1:{port} " in ray) == (node == 1)
    assert f"--temp-dir={folder} " in ray and f"--num-cpus=16 --memory={30 * GIB} " in ray
    assert not Path(folder).exists()


def free(listener: socket.socket, port: int) -> bool:
    """Whether the port is free; it is taken then."""
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def wait_for(path: Path) -> None:
    for _ in range(1200):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path.name} does not come")
