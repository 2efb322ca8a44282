"""In a real Chromium: signed in, every page by click and by keyboard, in light and dark, wide and narrow.

Screenshots are kept in .artefacts/dashboard. Skipped where there is no Chromium or no Playwright: on Debian
`apt-get install chromium`, and `pip install playwright`. CHROMIUM names another executable.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from gradatim.journal import announcement
from gradatim.ledger.bundle import check
from gradatim.progress import SILENT
from gradatim.serve.run import listen
from gradatim.store.announced import Announced
from gradatim.workspace import Workspace
from tests.dashboard.conftest import ADMIN, app_of
from tests.dashboard.populated import CLOSED, OPEN

ARTEFACTS = Path(__file__).parents[2] / ".artefacts" / "dashboard"
INCIDENTS = (f"incidents/{CLOSED}", f"incidents/{OPEN}")
SIZES = {"wide": {"width": 1440, "height": 900}, "narrow": {"width": 390, "height": 844}}
NAMES = (
    *("Overview", "Steps", "Schedule", "Releases", "Rollouts"),
    *("Approvals", "Incidents", "Feedback", "Costs", "Ledger"),
)
PATHS = ("", "steps/step-0001", "steps/step-0003", "rollouts/rollout-0001", "ledger/3", *INCIDENTS)


def _chromium() -> str | None:
    named = os.environ.get("CHROMIUM")
    return named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def _browser_module() -> Any:
    if _chromium() is None:
        pytest.skip("no Chromium here: `apt-get install chromium`, or name one in CHROMIUM")
    return pytest.importorskip("playwright.sync_api", reason="no Playwright here: `pip install playwright`")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with _browser_module().sync_playwright() as driver:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium = driver.chromium.launch(executable_path=_chromium(), args=arguments)
        yield chromium
        chromium.close()


@contextmanager
def serving(workspace: Workspace) -> Iterator[str]:
    """The app on a free port."""
    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app_of(workspace), log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        thread.join(0.01)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/ui/"
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()


@dataclass
class Tab:
    """A page of a browser, and all that went wrong in it."""

    page: Any
    home: str
    problems: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._answered)

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(message.text)

    def _answered(self, answer: Any) -> None:
        if answer.status >= 400:
            self.problems.append(f"{answer.url}: {answer.status}")

    def _failed(self, request: Any) -> None:
        if request.failure != "net::ERR_ABORTED":  # a look under way when the page is left
            self.problems.append(f"{request.url}: {request.failure}")

    def keep(self, name: str) -> None:
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=ARTEFACTS / f"{name}.png", full_page=True)

    def fits(self) -> bool:
        """Whether nothing sticks out to the right."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))

    def sign_in(self) -> None:
        self.page.goto(self.home)
        self.page.keyboard.type("Ada")  # the first field has the focus
        self.page.keyboard.press("Tab")
        self.page.keyboard.type(ADMIN)
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector("h1:has-text('Overview')")


@contextmanager
def opened(browser: Any, home: str, size: str = "wide", scheme: str = "light", **more: Any) -> Iterator[Tab]:
    context = browser.new_context(viewport=SIZES[size], color_scheme=scheme, **more)
    tab = Tab(context.new_page(), home)
    tab.page.set_default_timeout(60_000)
    tab.watch()
    yield tab
    context.close()
    assert tab.problems == []


@pytest.fixture
def home(workspace: Workspace) -> Iterator[str]:
    with serving(workspace) as url:
        yield url


def focused(tab: Tab) -> str:
    return str(tab.page.evaluate("(document.activeElement.textContent || '').trim()"))


def test_all_pages_by_click_in_light_and_dark_wide_and_narrow(browser: Any, home: str) -> None:
    for size, scheme in (("wide", "light"), ("wide", "dark"), ("narrow", "light")):
        with opened(browser, home, size, scheme) as tab:
            tab.sign_in()
            for name in NAMES:
                tab.page.click(f"nav[aria-label=Pages] a:has-text('{name}')")
                tab.page.wait_for_selector(f"nav a[aria-current=page]:has-text('{name}')")
                assert tab.fits(), (name, size)
                tab.keep(f"{name.lower()}-{size}-{scheme}")
            for path in PATHS[1:]:
                tab.page.goto(home + path)
                assert tab.fits(), (path, size)
                tab.keep(f"{path.replace('/', '-')}-{size}-{scheme}")
            paper = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, paper[4:-1].split(","))) < 200) == (scheme == "dark")


def test_all_pages_by_keyboard(browser: Any, home: str) -> None:
    with opened(browser, home) as tab:
        tab.sign_in()
        tab.page.goto(home)
        tab.page.keyboard.press("Tab")
        assert focused(tab) == "Skip to the content"
        outline = tab.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        tab.page.keyboard.press("Enter")
        assert tab.page.evaluate("document.activeElement.id") == "main"
        for number, name in enumerate(NAMES):
            tab.page.goto(home)
            for _ in range(3 + number):  # the skip link and the brand come first
                tab.page.keyboard.press("Tab")
            assert focused(tab).startswith(name)
            tab.page.keyboard.press("Enter")
            tab.page.wait_for_selector(f"nav a[aria-current=page]:has-text('{name}')")


def test_a_release_is_approved_with_the_keyboard_alone(browser: Any, home: str, workspace: Workspace) -> None:
    (release,) = [entry.body["release"] for entry in workspace.ledger.entries("approval-needed")]
    with opened(browser, home) as tab:
        tab.sign_in()
        tab.page.goto(f"{home}approvals")
        tab.page.focus("input[name=reason]")
        tab.page.keyboard.type("the figures are in")
        tab.page.keyboard.press("Tab")
        assert focused(tab) == "Approve"
        tab.page.keyboard.press("Enter")
        tab.page.wait_for_selector("[role=status]:has-text('Approved')")
    assert workspace.registry.live_id() == release
    assert list(workspace.ledger.entries("approval"))[-1].body["by"] == "Ada"


def test_an_incident_is_downloaded_and_closed(browser: Any, home: str, workspace: Workspace) -> None:
    with opened(browser, home) as tab:
        tab.sign_in()
        tab.page.click(f"#waits a:has-text('{OPEN}')")
        with tab.page.expect_download() as coming:
            tab.page.click("text=Download the bundle")
        assert coming.value.suggested_filename == f"{OPEN}.zip"
        assert [entry.body["event"] for entry in check(Path(coming.value.path())).entries] == ["opened"]
        for action in ("Acknowledge", "Close"):
            tab.page.click(f"summary:has-text('{action}')")
            tab.page.fill("details[open] input[name=reason]", f"{action.lower()}d with a click")
            tab.keep(f"incident-{action.lower()}")
            tab.page.click(f"details[open] button:has-text('{action}')")
            tab.page.wait_for_selector(f"[role=status]:has-text('{action.lower()}d')")
    found = workspace.incidents.get(OPEN)
    assert found.acknowledged
    assert found.closed
    assert (found.acknowledged.reason, found.closed.reason) == ("acknowledged with a click", "closed with a click")
    assert found.closed.by == "Ada"


def test_the_switch_is_remembered_without_a_script(browser: Any, home: str) -> None:
    with opened(browser, home, scheme="light", java_script_enabled=False) as tab:
        tab.sign_in()
        tab.page.click("button:has-text('dark')")
        for path in PATHS:
            tab.page.goto(home + path)
            assert tab.page.get_attribute("html", "data-theme") == "dark"
        tab.page.click("button:has-text('Sign out')")
        assert tab.page.get_attribute("html", "data-theme") == "dark"
        tab.keep("sign-in-dark")


def test_a_running_step_moves_on_the_screen(browser: Any, home: str, workspace: Workspace) -> None:
    told = Announced(SILENT, announcement(workspace.folder, "step-0003"))
    with workspace.lock(), opened(browser, home) as tab:
        told.phase("seal: writing the exam", 40)
        tab.sign_in()
        tab.page.goto(f"{home}steps/step-0003")
        assert "0 of 40" in tab.page.text_content("#progress")
        tab.keep("step-running")
        told.advance(17)
        told.phase("learn", 100_000)
        tab.page.wait_for_selector("#progress :text('of 100,000')")
        assert "seal" in tab.page.text_content("#progress .is-running")


def test_hostile_texts_run_nothing(browser: Any, home: str) -> None:
    with opened(browser, home) as tab:
        asked: list[str] = []

        def refuse(dialog: Any) -> None:
            asked.append(dialog.message)
            dialog.dismiss()

        tab.page.on("dialog", refuse)
        tab.sign_in()
        for path in (*PATHS, "schedule", "incidents", "feedback", "approvals", "releases"):
            tab.page.goto(home + path)
        assert asked == []


def test_texts_stand_out_from_their_ground(browser: Any, home: str) -> None:
    """WCAG 2.2 AA: a contrast of 4.5, measured on what Chromium drew."""
    for scheme in ("light", "dark"):
        with opened(browser, home, scheme=scheme) as tab:
            tab.sign_in()
            for path in (*PATHS, "schedule", "incidents", "feedback", "approvals", "releases"):
                tab.page.goto(home + path)
                assert tab.page.evaluate(_WEAK_TEXTS) == [], (scheme, path)


_WEAK_TEXTS = """() => {
  const colour = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = node => {
    for (let here = node; here; here = here.parentElement) {
      const found = colour(getComputedStyle(here).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const weak = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !node.checkVisibility() || node.closest("svg, script")) continue;
    const [a, b] = [light(colour(getComputedStyle(node).color)), light(ground(node))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) weak.add(`${node.className || node.tagName}: ${contrast.toFixed(2)}`);
  }
  return [...weak];
}"""
