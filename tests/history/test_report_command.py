"""quest-integrity report: the page in a real browser, without network, and what it says."""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from checks import report
from tests.history.test_history_command import CREATE_SELF_MADE
from tests.support import factory
from tests.support.cli import run

Connection = psycopg.Connection[Any]
Opener = Callable[..., Page]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = '<img src=x onerror="document.title=1">'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here: Debian has it in the package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Opener]:
    """Yield what writes a database's report and opens it; afterwards nothing may have gone wrong in the page."""
    complaints: list[str] = []

    def open_report(connection: Connection, **options: Any) -> Page:
        ran = run(connection, "report", "--html", tmp_path / "report.html")
        assert (ran.code, ran.out) == (0, "")
        assert list(tmp_path.iterdir()) == [tmp_path / "report.html"]
        page = browser.new_page(**options)
        address = (tmp_path / "report.html").as_uri()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: complaints.append(request.url) if request.url not in (address, "data:,") else None,
        )
        page.goto(address)
        return page

    yield open_report
    for context in browser.contexts:
        context.close()
    assert complaints == []


def written(connection: Connection, tmp_path: Path) -> str:
    assert run(connection, "report", "--html", tmp_path / "report.html").code == 0
    return (tmp_path / "report.html").read_text()


@pytest.fixture
def many(migrated: Connection) -> Connection:
    """More violations than the page lists."""
    migrated.autocommit = True
    migrated.execute(CREATE_SELF_MADE)
    migrated.execute("insert into public.self_made select 'self_made:' || n from generate_series(1, 10500) as n")
    return migrated


@pytest.fixture
def eventful(sync_001: Connection) -> Connection:
    """The incident, audited, repaired, with a stale write and somebody kicked since; all of it on record."""
    sync_001.autocommit = True
    run(sync_001, "audit", "--record")
    run(sync_001, "audit", "--record", "--fix-issues", "--yes", "--missing-participant", "create")
    run(sync_001, "validate")
    sync_001.execute("set application_name = 'web <b>2</b>'")
    sync_001.execute("update quests_quest set status = 'open' where id = 5")
    sync_001.execute("update applications_application set status = 'kicked' where quest_id = 5")
    factory.application(sync_001, 5, factory.user(sync_001), status="approved")
    return sync_001


class TestInABrowser:
    def test_the_incident(self, sync_001: Connection, opened: Opener) -> None:
        page = opened(sync_001)
        assert "2 violations of severity error" in page.locator(".health").inner_text()
        assert page.locator("#found tbody tr").count() == 2
        assert page.locator("#found tbody tr").first.locator("[data-label=person]").inner_text() == "admin"
        repairs = page.locator("[data-label=repair] code").all_inner_texts()
        assert repairs == [
            "quest-integrity audit --fix-issues --rule approved_without_participant --missing-participant …",
            # The choice, explained.
            "create",
            "revoke",
            "quest-integrity audit --fix-issues --rule open_quest_with_approval",
        ]

    def test_filters(self, sync_001: Connection, opened: Opener) -> None:
        page = opened(sync_001)
        assert page.locator("#shown").inner_text() == "2 of 2 shown"
        page.get_by_role("searchbox").fill("DERIVE_quest 5")
        assert page.locator("#found tbody tr:visible").count() == 1
        assert page.locator("#shown").inner_text() == "1 of 2 shown"
        page.get_by_role("searchbox").fill("")
        page.get_by_role("combobox", name="Severity").select_option("warning")
        assert page.locator("#found tbody tr:visible").count() == 0
        page.get_by_role("combobox", name="Severity").select_option("error")
        page.get_by_role("combobox", name="Rule").select_option("approved_without_participant")
        assert page.locator("#found tbody tr:visible [data-label=rule]").all_inner_texts() == [
            "approved_without_participant"
        ]

    def test_sorts_by_keyboard(self, many: Connection, opened: Opener) -> None:
        page = opened(many)
        heading = page.get_by_role("button", name="what is wrong")
        heading.focus()
        page.keyboard.press("Enter")
        assert page.locator("th[aria-sort=ascending]").inner_text().startswith("what is wrong")
        keys = page.locator("#found tbody small").all_inner_texts()
        # As numbers, not as text.
        assert keys == sorted(keys, key=lambda key: int(key.partition(":")[2]))
        page.keyboard.press("Enter")
        assert page.locator("th[aria-sort=descending]").count() == 1
        assert page.locator("#found tbody small").all_inner_texts() == keys[::-1]

    def test_ten_thousand_rows(self, many: Connection, opened: Opener) -> None:
        page = opened(many)
        assert page.locator("#found tbody tr").count() == report.MOST_LISTED
        assert "The first 10,000 of 10,500" in page.locator("main").inner_text()
        started = time.monotonic()
        page.get_by_role("searchbox").fill("self_made:777")
        assert page.locator("#shown").inner_text() == "11 of 10,000 shown"
        page.get_by_role("button", name="what is wrong").click()
        assert time.monotonic() - started < 10

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("width", [360, 1200])
    def test_accessible(self, scheme: str, width: int, eventful: Connection, opened: Opener) -> None:
        user = factory.user(eventful)
        for _ in range(2):
            factory.application(eventful, 5, user)
        page = opened(eventful, color_scheme=scheme, viewport={"width": width, "height": 800})
        assert Axe().run(page).response["violations"] == []
        # Nothing hangs over the edge of a phone; what is wide scrolls by itself.
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    def test_on_paper(self, eventful: Connection, opened: Opener) -> None:
        page = opened(eventful, color_scheme="dark")
        page.emulate_media(media="print")
        assert not page.locator("#filter").is_visible()
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        assert page.pdf().startswith(b"%PDF")

    def test_texts_of_users_are_texts(self, sync_001: Connection, opened: Opener) -> None:
        sync_001.execute("update users_user set username = %s where username = 'admin'", [HOSTILE])
        page = opened(sync_001)
        assert page.locator("#found [data-label=person]").first.inner_text() == HOSTILE
        assert page.locator("img").count() == 0
        assert page.title().startswith("Integrity of")


class TestWhatItSays:
    def test_history_corrections_and_approvals(self, eventful: Connection, tmp_path: Path) -> None:
        page = written(eventful, tmp_path)
        assert "No violations." in page or "No violation of severity error" in page
        assert "In the last one: 0 errors, 0 warnings." in page
        assert "In the last one: 0 new violations, 2 fixed violations." in page
        assert "web &lt;b&gt;2&lt;/b&gt;" in page
        assert re.search(r'aria-label="Approvals per day: \d+ in 30 days', page)

    def test_the_diagrams_come_from_the_catalog(self, eventful: Connection, tmp_path: Path) -> None:
        page = written(eventful, tmp_path)
        for name, state in eventful.execute("select name, state from integrity.law_status where kind = 'foreign key'"):
            # What nobody has asked for is no edge.
            assert (f"{name} ({state})" in page) == (state != "not requested")
        assert "Application: no row, pending, approved, rejected, kicked." in page
        assert "From approved to kicked: 1\u00d7." in page
        eventful.execute("update integrity.status set status = 'thrown out' where status = 'kicked'")
        assert "Application: no row, pending, approved, rejected, thrown out." in written(eventful, tmp_path)

    def test_damage(self, migrated: Connection, tmp_path: Path) -> None:
        assert "Every object of the layer is as it was installed." in written(migrated, tmp_path)
        migrated.execute("alter table quests_quest disable trigger integrity_derive_on_update")
        page = written(migrated, tmp_path)
        assert "trigger integrity_derive_on_update on public.quests_quest" in page
        assert "the layer that keeps it so is damaged" in page

    def test_nothing_wrong_and_nothing_yet(self, migrated: Connection, tmp_path: Path) -> None:
        page = written(migrated, tmp_path)
        assert "No violations." in page
        assert "No audit is recorded yet" in page
        assert "No client has written stale quest state." in page


class TestRefusals:
    def test_without_a_file(self, migrated: Connection) -> None:
        assert run(migrated, "report").code == 2

    def test_a_folder_that_is_not_there(self, migrated: Connection, tmp_path: Path) -> None:
        ran = run(migrated, "report", "--html", tmp_path / "none" / "report.html")
        assert (ran.code, ran.out) == (2, "")
        assert "error: cannot write" in ran.err

    def test_a_database_that_is_not_migrated(self, empty: Connection, tmp_path: Path) -> None:
        ran = run(empty, "report", "--html", tmp_path / "report.html")
        assert ran.code == 2
        assert "not migrated" in ran.err
        assert list(tmp_path.iterdir()) == []
