"""What the desktop is told: files that its own validators accept, under one id, agreeing with one another."""

from __future__ import annotations

import configparser
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PySide6.QtGui import QImage, QPainter
from PySide6.QtSvg import QSvgRenderer

import memviz
from memviz import resources

MIME_TYPE = "application/vnd.memviz+sqlite3"
MIME_NAMESPACE = {"mime": "http://www.freedesktop.org/standards/shared-mime-info"}
ICON_SIZES = (48, 128, 256)


@pytest.fixture(scope="module")
def packaging(checkout: Path) -> Path:
    return checkout / "packaging"


@pytest.fixture(scope="module")
def desktop(packaging: Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # keys are case-sensitive
    parser.read(packaging / f"{memviz.APP_ID}.desktop")
    return parser["Desktop Entry"]


def tool(name: str, package: str) -> str:
    """The validator's path; the test is skipped where it is not installed and may not be."""
    found = shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed: sudo apt-get install {package}")
    return found


def image(path: Path) -> QImage:
    loaded = QImage(str(path))
    assert not loaded.isNull(), path
    return loaded.convertToFormat(QImage.Format.Format_ARGB32)


def test_the_id_is_a_lower_case_reverse_dns_name() -> None:
    assert re.fullmatch(r"[a-z][a-z0-9]*(\.[a-z][a-z0-9]*){2,}", memviz.APP_ID)


def test_every_file_carries_the_one_id(packaging: Path) -> None:
    named = [path.name for path in packaging.rglob("*") if "memviz" in path.name]
    assert len(named) == 4 + len(ICON_SIZES)
    assert [name for name in named if not name.startswith(f"{memviz.APP_ID}.")] == []
    # Whatever looks like an id of ours is ours: a second spelling in any file would be found here.
    for path in packaging.glob(f"{memviz.APP_ID}.*"):
        spelled = set(re.findall(r"\b(?:io|org|com)(?:\.[\w-]+)*\.memviz\b", path.read_text(), re.IGNORECASE))
        assert spelled == {memviz.APP_ID}, path


def test_the_desktop_file_is_valid(packaging: Path) -> None:
    command = [tool("desktop-file-validate", "desktop-file-utils"), str(packaging / f"{memviz.APP_ID}.desktop")]
    outcome = subprocess.run(command, capture_output=True, text=True)
    assert (outcome.returncode, outcome.stdout + outcome.stderr) == (0, "")


def test_the_desktop_file_starts_the_installed_command(desktop: configparser.SectionProxy, checkout: Path) -> None:
    assert desktop["Exec"] == "memviz %f"
    assert desktop["TryExec"] == "memviz"
    assert '[project.gui-scripts]\nmemviz = "' in (checkout / "pyproject.toml").read_text()


def test_window_icon_and_type_are_found_by_the_id(desktop: configparser.SectionProxy) -> None:
    assert (desktop["Icon"], desktop["StartupWMClass"]) == (memviz.APP_ID, memviz.APP_ID)
    assert desktop["MimeType"] == f"{MIME_TYPE};"


def test_the_metainfo_is_valid(packaging: Path) -> None:
    command = [tool("appstreamcli", "appstream"), "validate", "--no-net", "--pedantic", "--no-color"]
    command.append(str(packaging / f"{memviz.APP_ID}.metainfo.xml"))
    outcome = subprocess.run(command, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stdout
    assert not re.search(r"^[EWIP]: ", outcome.stdout, re.MULTILINE), outcome.stdout


def test_the_metainfo_agrees_with_the_desktop_file(packaging: Path, desktop: configparser.SectionProxy) -> None:
    metainfo = ElementTree.parse(packaging / f"{memviz.APP_ID}.metainfo.xml")
    assert metainfo.findtext("id") == memviz.APP_ID
    assert metainfo.findtext("launchable") == f"{memviz.APP_ID}.desktop"
    assert metainfo.findtext("name") == desktop["Name"]
    assert metainfo.findtext("provides/mediatype") == MIME_TYPE
    assert metainfo.findtext("provides/binary") == desktop["TryExec"]
    categories = {category.text for category in metainfo.findall("categories/category")}
    assert categories <= set(desktop["Categories"].split(";"))


def test_a_recording_is_recognised_by_name_and_by_content(packaging: Path, tmp_path: Path) -> None:
    mime = ElementTree.parse(packaging / f"{memviz.APP_ID}.xml").find("mime:mime-type", MIME_NAMESPACE)
    assert mime is not None
    assert mime.get("type") == MIME_TYPE
    assert [glob.get("pattern") for glob in mime.findall("mime:glob", MIME_NAMESPACE)] == ["*.memviz"]

    recording = tmp_path / "recording"
    database = sqlite3.connect(recording)
    database.execute(f"PRAGMA application_id = {int.from_bytes(b'MEMV', 'big')}")
    database.execute("CREATE TABLE meta (key, value)")
    database.commit()
    database.close()
    head = recording.read_bytes()[:100]
    matches = mime.findall(".//mime:match", MIME_NAMESPACE)
    assert len(matches) == 2
    for match in matches:
        value = (match.get("value") or "").replace("\\0", "\0").encode()
        offset = int(match.get("offset") or "-1")
        assert head[offset : offset + len(value)] == value


def test_the_mime_database_takes_the_type(packaging: Path, tmp_path: Path) -> None:
    command = tool("update-mime-database", "shared-mime-info")
    (tmp_path / "packages").mkdir()
    shutil.copy(packaging / f"{memviz.APP_ID}.xml", tmp_path / "packages")
    subprocess.run([command, str(tmp_path)], capture_output=True, check=True)
    assert f"50:{MIME_TYPE}:*.memviz" in (tmp_path / "globs2").read_text().splitlines()


def test_reading_the_machine_takes_an_administrator_at_the_keyboard(packaging: Path) -> None:
    policy = ElementTree.parse(packaging / f"{memviz.APP_ID}.policy")
    assert policy.findtext("icon_name") == memviz.APP_ID
    actions = policy.findall("action")
    assert actions
    for action in actions:
        assert (action.get("id") or "").startswith(f"{memviz.APP_ID}.")
        defaults = {item.tag: item.text for item in action.findall("defaults/*")}
        assert defaults == {"allow_any": "no", "allow_inactive": "no", "allow_active": "auth_admin_keep"}


@pytest.mark.parametrize("size", ICON_SIZES)
def test_the_icon_has_its_size_and_round_corners(packaging: Path, size: int) -> None:
    icon = image(packaging / "icons" / "hicolor" / f"{size}x{size}" / "apps" / f"{memviz.APP_ID}.png")
    assert (icon.width(), icon.height()) == (size, size)
    assert icon.pixelColor(0, 0).alpha() == 0
    # The block that could be allocated is what the eye finds first: brighter than the frames around it.
    lit = icon.pixelColor(round(size * 0.42), round(size * 0.42))
    frame = icon.pixelColor(round(size * 0.20), round(size * 0.20))
    assert lit.alpha() == frame.alpha() == 255
    assert lit.lightness() > frame.lightness() + 40


def test_the_pictures_are_of_the_drawing(packaging: Path) -> None:
    """The PNGs were rendered from the SVG as it is now: packaging/render_icons.py makes them again."""
    renderer = QSvgRenderer(str(resources.path(f"icons/{memviz.APP_ID}.svg")))
    assert renderer.isValid()
    for size in ICON_SIZES:
        icon = image(packaging / "icons" / "hicolor" / f"{size}x{size}" / "apps" / f"{memviz.APP_ID}.png")
        drawn = render(renderer, size)
        worst = max(
            abs(icon.pixelColor(x, y).green() - drawn.pixelColor(x, y).green())
            for x in range(0, size, 3)
            for y in range(0, size, 3)
        )
        assert worst <= 24, f"{size}: run packaging/render_icons.py"


def render(renderer: QSvgRenderer, size: int) -> QImage:
    drawn = QImage(size, size, QImage.Format.Format_ARGB32)
    drawn.fill(0)
    painter = QPainter(drawn)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    renderer.render(painter)
    painter.end()
    return drawn
