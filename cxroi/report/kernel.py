"""One kernel a notebook: private sockets, this very Python, a fixed hash seed and a time limit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def _without_iri_parsers() -> Iterator[None]:
    """Hide a module that jsonschema imports at will: it builds parsers for 1.2 s that no notebook format uses."""
    is_absent = "rfc3987_syntax" not in sys.modules
    if is_absent:
        sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if is_absent:
            del sys.modules["rfc3987_syntax"]


with _without_iri_parsers():
    import papermill
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from jupyter_core.utils import ensure_event_loop
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

__all__ = ["DeadKernelError", "PapermillExecutionError", "Watch", "execute"]

SOCKET_PATH_LENGTH = 80  # a socket's path holds 104 bytes on macOS, 108 on Linux
START_SECONDS = 120
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Watch:
    """Kills a kernel when its time is over or when asked to.

    Parameters
    ----------
    seconds
        Time limit from now on, over all cells.
    """

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self._kill: Callable[[], None] | None = None
        self._is_stopped = False
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def began(self, kill: Callable[[], None]) -> None:
        """Note a kernel's start and how to kill it."""
        with self._lock:
            self._kill = kill
            if self._is_stopped:
                kill()

    def ended(self) -> None:
        """Note a kernel's end: its process id may belong to another process from now on."""
        with self._lock:
            self._kill = None

    def stop(self) -> None:
        """Kill the kernel, also one that starts later."""
        with self._lock:
            self._is_stopped = True
            if self._kill is not None:
                self._kill()

    def close(self) -> None:
        """End the time limit."""
        self._timer.cancel()

    def _expire(self) -> None:
        self.expired = True
        self.stop()


class Kernel(AsyncKernelManager):
    """A kernel that talks over sockets in a folder of its own and tells its watch when it lives."""

    watch: Watch

    def __init__(self, *args: Any, **options: Any) -> None:
        self._folder = tempfile.mkdtemp(prefix="cx")
        options["connection_file"] = os.path.join(self._folder, "kernel.json")
        if sys.platform != "win32" and len(self._folder) < SOCKET_PATH_LENGTH:
            options |= {"transport": "ipc", "ip": os.path.join(self._folder, "k")}
        super().__init__(*args, **options)
        launch = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        self._kernel_spec = KernelSpec(argv=launch, display_name="Python 3", language="python")

    async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
        """Start in a reproducible environment, without the user's IPython profile.

        The kernel is killed when its notebook is done, so what it wrote to temporary files goes with its own folder.
        """
        temporary = os.path.join(self._folder, "tmp")
        os.makedirs(temporary, exist_ok=True)
        environment = {
            **dict.fromkeys(ONE_THREAD, "1"),
            **os.environ,
            "IPYTHONDIR": os.path.join(self._folder, "ipython"),
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "PYTHONHASHSEED": "0",
            **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), temporary),
        }
        await super().start_kernel(**{**options, "env": environment})
        process = getattr(self.provisioner, "process", None)
        self.watch.began(_killer(process))

    async def cleanup_resources(self, restart: bool = False) -> None:  # type: ignore[override]
        """Remove the sockets' folder too."""
        self.watch.ended()
        await super().cleanup_resources(restart=restart)
        if not restart:
            shutil.rmtree(self._folder, ignore_errors=True)


def execute(
    source: str, result: str, *, parameters: dict[str, Any], watch: Watch, on_cell: Callable[[int], None]
) -> None:
    """Execute a notebook file into another; what goes wrong is raised as papermill or nbclient raise it.

    Parameters
    ----------
    parameters
        Checked values, injected after the ``parameters`` cell.
    on_cell
        Called with the index of each code cell that starts.
    """
    with _event_loop(), _quiet():
        papermill.execute_notebook(
            source,
            result,
            parameters=parameters,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            start_timeout=START_SECONDS,
            kernel_manager_class=type("WatchedKernel", (Kernel,), {"watch": watch}),
            shutdown_kernel="immediate",
            on_cell_execute=lambda cell, cell_index: on_cell(cell_index),
        )


@contextlib.contextmanager
def _event_loop() -> Iterator[None]:
    """Event loop of this thread that is closed again; the one that Jupyter makes by itself would stay open."""
    loop = ensure_event_loop()
    try:
        yield
    finally:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.close()
        asyncio.set_event_loop(None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep papermill's log off standard error: what went wrong is raised; a configured root logger still hears it."""
    handler = logging.NullHandler()
    logger = logging.getLogger("papermill")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _killer(process: Any) -> Callable[[], None]:
    """Kill a kernel with the processes that it started; it leads a group of its own except on Windows."""

    def kill() -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if sys.platform == "win32":
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)

    return kill
