"""The connection to a Ray cluster: an address that answers, or one clear line soon. Ray is loaded here."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from fgbench.cluster.request import AUTO, LOCAL
from fgbench.errors import CannotMeasureError, FgbenchError
from fgbench.packages import need

CONNECT_S = 25.0  # for an address
STARTS = 3  # of a Ray of its own, at most
START_S = 300.0  # for a Ray of its own
REACH_S = 8.0  # for its port
# Ray's own settings: it waits for the processes that it starts, and says nothing of their use to its makers.
SETTINGS = {
    "RAY_worker_register_timeout_seconds": "240",
    "RAY_gcs_server_port_wait_time_s": "240",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
}
# Ray takes the loopback address for its own where it believes that it is no cluster, and listens nowhere else then.
ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


def connected(address: str, environment: Mapping[str, Any]) -> Any:
    """Ray, connected.

    Args:
        address: Of the cluster; ``local`` starts one of this process.
        environment: Ray's runtime environment.

    Raises:
        FgbenchError: Ray is not installed, or this is no address.
        CannotMeasureError: Nobody answers there.

    """
    need("ray", "ray")
    for name, value in {**SETTINGS, **(ALONE if address == LOCAL else {})}.items():
        os.environ.setdefault(name, value)
    import ray

    logging.getLogger("ray").setLevel(logging.CRITICAL)  # importing it sets the level anew

    options: dict[str, Any] = {"runtime_env": dict(environment)} if environment else {}
    if address == LOCAL:
        options |= {"address": "local", "include_dashboard": False}  # whatever cluster this machine belongs to
    else:
        _reach(address)
        options |= {"address": address}
    failed: list[BaseException] = []

    def connect(ended: threading.Event) -> None:
        try:
            ray.init(log_to_driver=False, configure_logging=False, logging_level=logging.CRITICAL, **options)
        except BaseException as error:
            failed.append(error)
        ended.set()
        threading.Event().wait()  # the system ends Ray's processes with the thread that started them

    # Ray gives its own processes half a minute to start, which a busy machine may not have; and it waits without an end
    # for one that has ended, or for an address where something else listens.
    limit_s = START_S if address == LOCAL else CONNECT_S
    for _ in range(STARTS if address == LOCAL else 1):
        failed.clear()
        ended = threading.Event()
        threading.Thread(target=connect, args=(ended,), daemon=True).start()
        if not ended.wait(limit_s):
            what = "Ray does not start here" if address == LOCAL else f"no Ray cluster answers at {address}"
            raise CannotMeasureError(f"{what} within {limit_s:g} s")
        if not failed:
            break
        with suppress(Exception):
            ray.shutdown()
    if failed:
        what = "Ray does not start here" if address == LOCAL else f"no Ray cluster answers at {address}"
        do = "start one: ray start --head" if address == AUTO else ""
        raise CannotMeasureError(f"{what} ({first_line(failed[0])})", do=do) from failed[0]
    return ray


def _reach(address: str) -> None:
    """Refuse an address that nobody listens at; Ray would try for minutes."""
    if address == AUTO:
        return
    _, _, place = address.rpartition("://")
    host, colon, port = place.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise FgbenchError("--on needs auto, local, HOST:PORT or ray://HOST:PORT, got", address)
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_S).close()
    except OSError as error:
        why = error.strerror or str(error)
        raise CannotMeasureError(
            f"no Ray cluster answers at {address} ({why})", do="is it up, and the port open?"
        ) from error


def first_line(error: BaseException) -> str:
    """An error in one line; Ray's have many."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
