"""Processes that must not outlive the one that started them."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from trials.data import open_dataset
from trials.parent_death import end_with_parent
from trials.server_imports import DRIVER_VARIABLE
from trials.training import TrainSettings
from trials.training.data_module import DetectionData

HOME = str(Path(__file__).parents[2])

FORKS = """
import os, time
from trials.parent_death import end_with_parent, outlive_parent
parent = os.getpid()
for does_end in (True, False):
    if os.fork() == 0:
        end_with_parent()
        if not does_end:
            outlive_parent()
        print("ending" if does_end else "staying", os.getpid(), flush=True)
        while os.getppid() == parent:
            time.sleep(0.02)
        if does_end:
            time.sleep(600)
        print("outlived it", flush=True)
        time.sleep(600)
time.sleep(600)
"""

IMPORTS = """
import atexit, ctypes, importlib.abc, importlib.util, sys
from functools import partial

print = partial(print, flush=True)
atexit.register(print, "taken down")

def signal_of_death():
    number = ctypes.c_int()
    ctypes.CDLL(None).prctl(2, ctypes.byref(number))
    return number.value

class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        return importlib.util.spec_from_loader(name, self) if name == "trials.trial" else None

    def exec_module(self, module):
        print("while it imports:", signal_of_death())

sys.meta_path.insert(0, Finder())
import trials.server_imports
print("then:", signal_of_death())
"""


def run_imports(driver: str) -> "subprocess.CompletedProcess[str]":
    script = f"import os\nos.environ['{DRIVER_VARIABLE}'] = {driver}\n{IMPORTS}"
    return subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": HOME}, capture_output=True, text=True)


def test_a_process_ends_with_its_parent() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FORKS], env={"PYTHONPATH": HOME}, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        # They print in any order.
        said = dict(parent.stdout.readline().split() for _ in range(2))
        ending, staying = (Path("/proc") / said[name] for name in ("ending", "staying"))
        parent.kill()
        parent.wait()
        until = time.monotonic() + 60.0
        while ending.exists() and ending.joinpath("stat").read_text().split()[2] != "Z":
            assert time.monotonic() < until
            time.sleep(0.02)
        assert parent.stdout.readline() == "outlived it\n"  # nothing, were it dead and only not yet removed
        subprocess.run(["kill", "-9", staying.name], check=True)


def test_the_server_ends_with_its_driver_while_it_imports_and_later_at_once_by_itself() -> None:
    found = run_imports("str(os.getppid())")
    assert found.stdout.splitlines() == [f"while it imports: {signal.SIGKILL}", "then: 0"], found.stderr


def test_a_server_whose_driver_is_dead_imports_nothing() -> None:
    found = run_imports("'1'")
    assert (found.returncode, found.stdout) == (1, "")


def test_processes_that_load_images_end_with_their_trial() -> None:
    dataset = open_dataset("shapes:train=2,val=2,size=32")
    data = DetectionData(dataset, (32, 32), settings=TrainSettings(batch_size=1), num_workers=1)
    assert data.train_dataloader().worker_init_fn is end_with_parent
    assert data.val_dataloader().worker_init_fn is end_with_parent
