"""`/metrics` without its database: what the process knows of itself is still there, and that it is alone shows."""

from pathlib import Path

from controlplane.config import ServerSection, Settings
from controlplane.wiring import ControlPlane


async def test_without_a_database_there_are_still_the_figures_of_the_process(tmp_path: Path) -> None:
    plane = ControlPlane(Settings(server=ServerSection(data_dir=str(tmp_path))))
    plane._store.open()
    plane._store.close()
    media_type, text = await plane._exposition.text("")
    lines = {line.split("{")[0].split(" ")[0] for line in text.decode().splitlines() if not line.startswith("#")}
    assert media_type.startswith("text/plain")
    assert {"pawl_info", "pawl_loop_age_seconds", "pawl_gateway_agents_online", "pawl_new_tasks_total"} <= lines
    assert "pawl_ready" not in lines, "an alert asks for this: pawl_info unless pawl_ready"
