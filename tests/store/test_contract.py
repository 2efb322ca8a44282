"""What both databases promise beyond single rows: migrations, turns, killed writers, text as it came, times."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError

from gradatim.errors import InputError, WorkspaceError
from gradatim.store import migrations, tables
from gradatim.store.clock import now
from gradatim.store.database import Database
from gradatim.store.records import Records
from gradatim.store.rollouts import ArmCount, Rated, SavedRollout
from gradatim.store.traffic import Interaction, Rating
from gradatim.types import Answer, Feedback, Provenance
from tests.postgres import Postgres
from tests.store.conftest import Raw

ANSWER = Answer("chatcmpl-1", "Who?", "Vole.", "r" * 64, "2026-01-01T00:00:00Z")
SERVED = Interaction("chatcmpl-1", "k-1", "s" * 64, "chat-7", "live", "{}", "stop", 5, 2, 0.25, 0.5)
RATING = Rating("rating-1", "chatcmpl-1", None, "k-1", "s" * 64, "rating", -1.0, None, "2026-01-01T00:00:01Z")
SAVED = SavedRollout("rollout-0001", "a" * 64, "b" * 64, "00ff", "{}", "[]", True, 0, 0, "2026-01-01T00:00:00Z")
PROVENANCE = Provenance("handbook.md", "d" * 64, "2026-01-01T00:00:00Z")


# ------------------------------------------------------------------ migrations

# What a database of each version may hold, as that version wrote it.
OLDER = {
    "0001": [
        "INSERT INTO documents (id, title, blob, source, digest, added_at, status) "
        "VALUES ('d1', 'Title', 'b1', 'a.md', 'x', '2026-01-01T00:00:00Z', 'studied')",
        "INSERT INTO answers (id, question, answer, release, at) VALUES ('a1', 'Who?', 'Vole', 'r1', '2026')",
        'INSERT INTO feedback (id, answer, question, rating, "by", source, digest, added_at, status) '
        "VALUES ('f1', 'a1', 'Who?', -1, 'lena', 's', 'x', '2026', 'quarantined')",
        "INSERT INTO strategy_outcomes (strategy, step, gain, at) VALUES ('raw', 'step-1', 0.25, '2026')",
        "INSERT INTO meta (key, value) VALUES ('cursor', '7')",
    ],
    "0002": [
        "INSERT INTO interactions (id, key, subject, arm, prompt, finish, prompt_tokens, completion_tokens, seconds) "
        "VALUES ('a1', 'k', 's', 'live', '{}', 'stop', 3, 2, 0.5)",
        "INSERT INTO ratings (id, response, key, subject, metric, value, at) "
        "VALUES ('r1', 'a1', 'k', 's', 'rating', -1, '2026')",
        "INSERT INTO keys (id, name, role, digest, created_at) VALUES ('k1', 'app', 'client', 'x', '2026')",
    ],
    "0003": [],
    "0004": [
        "INSERT INTO decisions (record, released, \"by\", reason, at) VALUES ('f1', true, 'ada', 'it is so', '2026')",
    ],
}


@pytest.mark.parametrize("version", list(OLDER))
def test_a_database_of_each_older_version_comes_along_with_its_rows(version: str, url: str) -> None:
    versions = list(OLDER)[: list(OLDER).index(version) + 1]
    engine = create_engine(url)
    with engine.begin() as connection:
        for older in versions:
            migrations.upgrade(connection, older)
            for statement in OLDER[older]:
                connection.execute(text(statement))
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == version
    engine.dispose()
    with opened(url) as records:
        assert [(one.id, one.title, one.status) for one in records.documents()] == [("d1", "Title", "studied")]
        assert records.answer("a1") == Answer("a1", "Who?", "Vole", "r1", "2026")
        assert [(one.feedback.by, one.status) for one in records.feedback()] == [("lena", "quarantined")]
        assert (records.outcomes(), records.setting("cursor")) == ([("raw", 0.25)], "7")
        if version > "0001":
            assert records.traffic.interaction("a1") == Interaction(
                "a1", "k", "s", None, "live", "{}", "stop", 3, 2, None, 0.5
            )
            assert [one.value for one in records.traffic.ratings()] == [-1.0]
            assert [one.name for one in records.keys.list()] == ["app"]
        records.traffic.add([(ANSWER, replace(SERVED, rollout="rollout-0001", wave=1))])
        assert records.rollouts.add(SAVED)
        assert len(records.rollouts.replies("rollout-0001", 0)) == 1


def test_every_version_has_its_rows_here() -> None:
    files = Path(migrations.__file__).parent.glob("versions/[0-9]*.py")
    assert sorted(file.name[:4] for file in files) == list(OLDER)


def test_two_who_open_a_new_database_at_once_both_find_it_made(url: str) -> None:
    threads, found = [], []

    def one() -> None:
        with opened(url) as records:
            found.append(records.traffic.count())

    for _ in range(4):
        threads.append(threading.Thread(target=one))
        threads[-1].start()
    for thread in threads:
        thread.join(60)
    assert found == [0, 0, 0, 0]


# ------------------------------------------------------------------ turns

_WRITER = """
import sys
from dataclasses import replace
from gradatim.store.records import Records
from tests.store.test_contract import RATING
records = Records(sys.argv[1])
print(sum(records.traffic.add_rating(replace(RATING, id=f"same-{n}", response=None, session="s")) for n in range(40)))
for n in range(40):
    records.traffic.add_rating(replace(RATING, id=f"{sys.argv[2]}-{n}", response=None, session="s"))
records.close()
"""


def test_two_processes_write_in_turn_and_a_reader_who_reads_on_misses_nothing(records: Records, url: str) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, url, name], stdout=subprocess.PIPE, text=True)
        for name in ("one", "two")
    ]
    database, seen, position = Database(url), [], 0
    query = tables.ratings.select().order_by(tables.ratings.c.position)
    while True:
        over = all(writer.poll() is not None for writer in writers)
        with database.reading() as connection:
            rows = list(connection.execute(query.where(tables.ratings.c.position > position)).mappings())
        seen += [row["id"] for row in rows]
        position = rows[-1]["position"] if rows else position
        if over:
            break
    database.close()
    firsts = [int(writer.communicate(timeout=60)[0]) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    assert sum(firsts) == 40  # each of the same ratings was new to exactly one of them
    assert len(seen) == len(set(seen)) == 120
    assert seen == [rating.id for rating in records.traffic.ratings()]


def test_of_two_servers_one_begins_a_rollout(records: Records, url: str) -> None:
    found = []
    with opened(url) as other:

        def begin(table: Records, name: str) -> None:
            found.append(table.rollouts.add(replace(SAVED, id=name)))

        threads = [threading.Thread(target=begin, args=pair) for pair in ((records, "one"), (other, "two"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert sorted(found) == [False, True]


def test_many_threads_share_one_set_of_records(records: Records) -> None:
    def write(name: int) -> None:
        for number in range(10):
            assert records.add_outcome("raw", f"step-{name}-{number}", 0.0)
            assert records.setting("cursor") is None

    threads = [threading.Thread(target=write, args=(name,)) for name in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(records.outcomes()) == 120


# ------------------------------------------------------------------ killed writers

_KILLED = """
import sys, time
from dataclasses import asdict
from gradatim.store import tables
from gradatim.store.database import Database
from gradatim.store.records import Records
from tests.store.test_contract import ANSWER, SERVED
records = Records(sys.argv[1])
records.traffic.add([(ANSWER, SERVED)])
database = Database(sys.argv[1])
with database.writing() as connection:
    connection.execute(database.insert_new(tables.meta).values(key="half", value="written"))
    print("in its turn", flush=True)
    time.sleep(600)
"""


def test_a_killed_writer_loses_its_turn_and_nothing_that_it_committed(records: Records, url: str) -> None:
    writer = subprocess.Popen([sys.executable, "-c", _KILLED, url], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline().strip() == "in its turn"
    assert records.traffic.interaction("chatcmpl-1") == SERVED
    assert records.setting("half") is None
    writer.kill()
    writer.wait()
    writer.stdout.close()
    records.set_setting("after", "all")
    assert (records.setting("half"), records.setting("after")) == (None, "all")


# ------------------------------------------------------------------ transactions


def test_a_transaction_that_fails_leaves_nothing(records: Records) -> None:
    with pytest.raises(IntegrityError):
        records.traffic.add([(ANSWER, SERVED), (replace(ANSWER, id="x"), replace(SERVED, id="y"))])  # y has no answer
    assert (records.traffic.count(), records.answer("chatcmpl-1")) == (0, None)


def test_a_response_that_was_never_served_can_not_be_rated(records: Records) -> None:
    with pytest.raises(IntegrityError):
        records.traffic.add_rating(RATING)
    assert records.traffic.ratings() == []


def test_records_have_one_owner(records: Records, url: str) -> None:
    assert records.owner is None
    assert records.claim("here")
    assert records.claim("here")
    with opened(url) as other:
        assert not other.claim("elsewhere")
    assert records.owner == "here"


# ------------------------------------------------------------------ keys and rollouts


def test_keys_are_made_once_found_and_revoked(records: Records) -> None:
    key, secret = records.keys.make("app", "client")
    with pytest.raises(InputError, match="already"):
        records.keys.make("app", "admin")
    assert records.keys.list() == [key]
    assert records.keys.list()[0].matches(secret)
    revoked = records.keys.revoke("app")
    assert not revoked.matches(secret)
    with pytest.raises(InputError, match="No key in use"):
        records.keys.revoke("app")


def test_a_rollout_is_saved_read_and_counted(records: Records) -> None:
    assert records.rollouts.add(SAVED)
    assert not records.rollouts.add(replace(SAVED, id="rollout-0002"))
    rows = [
        ("1", "live", "ada", 1.0, 3, "stop"),
        ("2", "canary", "max", 2.0, 4, "stop"),
        ("3", "canary", "max", 3.0, 5, "error"),
        ("4", "canary", "eva", 4.0, 9, "length"),
    ]
    for identity, arm, subject, seconds, count, finish in rows:
        served = replace(SERVED, id=identity, arm=arm, subject=subject, seconds=seconds, completion_tokens=count)
        records.traffic.add([(replace(ANSWER, id=identity), replace(served, rollout=SAVED.id, wave=2, finish=finish))])
    records.traffic.add_rating(replace(RATING, response="2", subject="max"))
    assert records.rollouts.arms(SAVED.id) == [
        ArmCount("canary", "r" * 64, 3, 2, 1, 3.0, 6.0),
        ArmCount("live", "r" * 64, 1, 1, 0, 1.0, 3.0),
    ]
    replies = records.rollouts.replies(SAVED.id, 0)
    assert [served.id for _, served, _ in replies] == ["1", "2", "3", "4"]
    assert [served.id for _, served, _ in records.rollouts.replies(SAVED.id, replies[1][0])] == ["3", "4"]
    (rated,) = records.rollouts.rated(SAVED.id, "rating", 0)
    assert rated == Rated(rated.position, "max", SERVED.key, 2, None, -1.0, "canary", RATING.at)
    records.rollouts.save(replace(SAVED, state="{1}", open=False, replies=2**40))
    assert records.rollouts.get(SAVED.id) == replace(SAVED, state="{1}", open=False, replies=2**40)
    assert records.rollouts.add(replace(SAVED, id="rollout-0002"))
    assert [one.id for one in records.rollouts.all()] == ["rollout-0001", "rollout-0002"]


def test_what_somebody_last_said_is_found(records: Records) -> None:
    records.traffic.add([(ANSWER, SERVED)])
    records.traffic.add_rating(RATING)
    records.traffic.add_rating(replace(RATING, id="rating-2", value=1.0))
    records.traffic.add_rating(replace(RATING, id="rating-3", subject="t" * 64, value=-1.0))
    who = {"key": "k-1", "subject": "s" * 64, "metric": "rating"}
    found = records.traffic.last_rating(response="chatcmpl-1", session=None, **who)
    assert found is not None
    assert found.id == "rating-2"
    assert records.traffic.last_rating(response=None, session="chat-7", **who) is None


# ------------------------------------------------------------------ text and times

# All that UTF-8 can spell: NUL, the escape that PostgreSQL's text needs, right-to-left marks, much beyond 16 bits.
ANY_TEXT = st.text(st.characters(codec="utf-8") | st.sampled_from("\0\x1a01'\"\\%_\u202e\ufeff\U0001f9ee"), max_size=60)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(ANY_TEXT, min_size=3, max_size=3))
def test_text_comes_back_as_it_went(records: Records, words: list[str]) -> None:
    question, answer, session = words
    identity = f"answer-{records.traffic.count()}"
    given_answer = Answer(identity, question, answer, "r" * 64, now())
    served = replace(SERVED, id=identity, session=session, prompt=answer)
    records.traffic.add([(given_answer, served)])
    assert records.answer(identity) == given_answer
    assert records.traffic.interaction(identity) == served
    feedback = Feedback(f"{identity}-f", identity, question, None, answer, session or "nobody", PROVENANCE)
    assert records.add_feedback(feedback)
    assert records.feedback()[-1].feedback == feedback
    # The same text is the same text, and no other is: sessions are looked up by equality.
    rating = replace(RATING, id=f"{identity}-r", response=None, session=session, metric=identity)
    assert records.traffic.add_rating(rating)
    who = {"key": "k-1", "subject": "s" * 64, "metric": identity}
    assert records.traffic.last_rating(response=None, session=session, **who) == rating
    assert records.traffic.last_rating(response=None, session=f"{session}\0", **who) is None


def test_text_that_is_none_is_refused_and_leaves_nothing(records: Records) -> None:
    with pytest.raises(UnicodeEncodeError):
        records.traffic.add([(replace(ANSWER, answer="half a \ud83d character"), SERVED)])
    assert records.traffic.count() == 0
    records.traffic.add([(ANSWER, SERVED)])  # the connection is as good as before


def test_long_values_come_back(records: Records) -> None:
    long = "Maße und Gewichte \0 " * 100_000
    records.traffic.add([(replace(ANSWER, answer=long), replace(SERVED, prompt=long, session="ß" * 512))])
    answer, served = records.answer("chatcmpl-1"), records.traffic.interaction("chatcmpl-1")
    assert answer is not None
    assert served is not None
    assert (answer.answer, served.prompt, served.session) == (long, long, "ß" * 512)


def test_numbers_come_back_to_the_last_bit(records: Records) -> None:
    for number, value in enumerate((0.1 + 0.2, 1e-300, -1.7976931348623157e308, 2.0**53 + 2)):
        records.traffic.add_rating(replace(RATING, id=str(number), response=None, session="s", value=value))
        assert records.traffic.ratings(1)[0].value.hex() == value.hex()


def test_times_are_text_in_utc_whatever_the_zone(records: Records, url: str, raw: Raw) -> None:
    if url.startswith("postgresql:"):
        raw(f"ALTER ROLE CURRENT_USER IN DATABASE {url.split('/')[3].split('?')[0]} SET timezone = 'Asia/Kathmandu'")
    with opened(url) as there:
        before = now()
        there.add_outcome("raw", "step-1", 0.5)
        ((at,),) = raw("SELECT at FROM strategy_outcomes")
    assert before <= at <= now()
    assert datetime.fromisoformat(at).utcoffset() is not None
    assert at.endswith("Z")
    stored = replace(ANSWER, at="2026-03-29T01:59:59.999Z")
    records.add_answer(stored)
    assert records.answer("chatcmpl-1") == stored


# ------------------------------------------------------------------ PostgreSQL only


def test_a_database_that_is_away_is_one_line(postgresql: Postgres) -> None:
    for url, said in (
        (postgresql.url("nowhere"), "does not exist"),
        (f"postgresql://nobody@/postgres?host={postgresql.socket}", "password"),
        ("postgresql://tester@/postgres?host=/nowhere", "No such file"),
    ):
        with pytest.raises(WorkspaceError, match=said) as raised:
            Records(url)
        assert "\n" not in str(raised.value)
        assert postgresql.password not in str(raised.value)


def test_a_connection_that_broke_is_made_anew(postgresql: Postgres) -> None:
    with opened(postgresql.new()) as records:
        records.set_setting("a", "1")
        own = "pid <> pg_backend_pid() AND datname LIKE 'made_%'"
        postgresql.run("postgres", f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {own}")
        assert records.setting("a") == "1"


def test_a_writer_that_waits_too_long_for_its_turn_is_told_so(
    postgresql: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gradatim.store.database._BUSY_MILLISECONDS", 100)
    url = postgresql.new()
    with opened(url) as records, opened(url) as other:
        refused = pytest.raises(WorkspaceError, match="lock timeout")
        with other._database.writing(), refused:
            records.set_setting("a", "1")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://somebody@host/name", "mysql can't be used"),
        ("nonsense", "no URL of a database"),
        ("postgresql://me:secret@host/name", "Leave the password out"),
        ("postgresql://me@host/name?password=secret", "Leave the password out"),
        ("postgresql://me@host", "names no database"),
    ],
)
def test_an_unfit_url_is_refused_without_repeating_a_password(url: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as raised:
        Records(url)
    assert "secret" not in str(raised.value)


@contextmanager
def opened(url: str) -> Iterator[Records]:
    records = Records(url)
    try:
        yield records
    finally:
        records.close()
