"""The pages' app, mounted at /ui: who is signed in, what goes wrong, and the headers that keep a page to itself.

Signing in takes an admin key, once; after that a cookie finds the session. A page runs no script and loads no style
but ours (Content-Security-Policy), every text in it is escaped, and a form counts only from a page of the session.
Without login everybody has a session, but only under a name of this machine, lest another site's name lead here.
"""

from __future__ import annotations

import asyncio
import json
import re
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from fastapi import FastAPI
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gradatim import __version__
from gradatim.dashboard import plots
from gradatim.dashboard.actions import ORDERS, body_of
from gradatim.dashboard.control import PREFIX, ControlPlane, Unanswered
from gradatim.dashboard.pages import NOW, PAGES, Made
from gradatim.dashboard.sessions import HOURS, Guesses, Session, Sessions
from gradatim.dashboard.traced import FILTERS, Traced, is_simple
from gradatim.serve.access import ANYONE, Doorkeeper
from gradatim.serve.base import Refused

HOME = "/ui"
COOKIE, THEME = "gradatim_session", "gradatim_theme"
THEMES = ("auto", "light", "dark")
LONGEST_NAME = 100
EXPORT = "/export"  # after an incident's page: the bundle
_HERE = Path(__file__).parent
_LOCAL = {"localhost", "127.0.0.1", "::1"}
_IDENTITY = re.compile(r"[\w.-]{1,100}", re.ASCII)
_POLICY = "; ".join(
    [
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
}


def add_dashboard(app: FastAPI, doorkeeper: Doorkeeper) -> None:
    """Mount the pages at /ui, and lead browsers there from /."""

    @app.get("/", include_in_schema=False)
    async def home() -> Response:
        return RedirectResponse(f"{HOME}/")

    app.mount(HOME, _Guarded(Dashboard(app, doorkeeper).app()))


class Dashboard:
    """The pages of one server."""

    def __init__(self, api: ASGIApp, doorkeeper: Doorkeeper) -> None:
        self._control, self._doorkeeper = ControlPlane(api), doorkeeper
        self._sessions, self._guesses = Sessions(), Guesses()
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(FILTERS)
        self._templates.tests["simple"] = is_simple
        self._templates.globals.update(plots.DRAWINGS, home=HOME, version=__version__, themes=THEMES)

    def app(self) -> Starlette:
        """The app, without its headers."""
        pages = [Route(path, partial(self._page, name, make), methods=["GET"]) for path, (name, make) in PAGES.items()]
        return Starlette(
            routes=[
                Route("/login", self._login_page, methods=["GET"]),
                Route("/login", self._sign_in, methods=["POST"]),
                Route("/logout", self._sign_out, methods=["POST"]),
                Route("/theme", self._set_theme, methods=["POST"]),
                Route("/act/{action}", self._act, methods=["POST"]),
                Route("/act/{action}/{id}", self._act, methods=["POST"]),
                Route("/incidents/{incident}" + EXPORT, self._download, methods=["GET"]),
                Mount("/static", StaticFiles(directory=_HERE / "static")),
                *pages,
            ],
            exception_handlers={HTTPException: self._http_error, Unanswered: self._unanswered, _Away: _go},
        )

    # ------------------------------------------------------------------ who is there

    async def _session(self, request: Request) -> Session:
        """The session of a request; `_Away` to the login page when there is none."""
        cookie = request.cookies.get(COOKIE)
        session = self._sessions.find(cookie)
        if not self._doorkeeper.login:
            if request.url.hostname not in _LOCAL:
                raise HTTPException(403, "Without login this server answers under the names of this machine only.")
            if session is None:
                cookie = self._sessions.begin(ANYONE, "")
                request.state.cookie = cookie
                session = self._sessions.find(cookie)
        elif session and not await asyncio.to_thread(self._doorkeeper.still_good, session.caller):
            self._sessions.end(cookie)
            session = None
        if session is None:
            path = request.url.path.removesuffix(EXPORT) if request.method == "GET" else f"{HOME}/"
            raise _Away(f"{HOME}/login?next={quote(path)}")
        return session

    async def _login_page(self, request: Request) -> Response:
        if not self._doorkeeper.login:
            return RedirectResponse(f"{HOME}/", 303)
        return self._rendered(request, "login.html", 200, next=_inside(request.query_params.get("next")), problem="")

    async def _sign_in(self, request: Request) -> Response:
        _same_site(request)
        form, address = await _form(request), request.client.host if request.client else ""
        page = partial(self._rendered, request, "login.html", next=_inside(form.get("next")))
        if wait := self._guesses.wait(address):
            problem = "Too many wrong keys from this address: wait a minute, then try again."
            return page(429, problem=problem, headers={"retry-after": str(wait)})
        name = " ".join(form.get("name", "").split())[:LONGEST_NAME]
        if not name:
            return page(400, problem="Give your name: it goes to the ledger with what you decide.")
        try:
            caller = await asyncio.to_thread(self._doorkeeper.caller, f"Bearer {form.get('key', '')}", "admin")
        except Refused as refused:
            self._guesses.wrong(address)
            return page(refused.status, problem=_why(refused))
        self._sessions.end(request.cookies.get(COOKIE))
        request.state.cookie = self._sessions.begin(caller, name)
        return self._kept(request, RedirectResponse(_inside(form.get("next")), 303))

    async def _sign_out(self, request: Request) -> Response:
        session = await self._session(request)
        _genuine(request, session, await _form(request))
        self._sessions.end(request.cookies.get(COOKIE))
        gone = RedirectResponse(f"{HOME}/login", 303)
        gone.delete_cookie(COOKIE, path=HOME)
        return gone

    async def _set_theme(self, request: Request) -> Response:
        _same_site(request)
        form = await _form(request)
        back = RedirectResponse(_inside(form.get("next")), 303)
        if form.get("theme") in THEMES:
            back.set_cookie(THEME, form["theme"], 365 * 24 * 3600, path=HOME, samesite="strict", httponly=True)
        return back

    # ------------------------------------------------------------------ pages and orders

    async def _page(self, name: str, make: Made, request: Request) -> Response:
        session = await self._session(request)

        async def ask(path: str) -> Any:
            return await self._control.get(path, session.caller)

        for part in request.path_params.values():
            if not _IDENTITY.fullmatch(part):
                raise HTTPException(404, "There is no such page.")
        page = await make(ask, request.path_params, request.query_params)
        answers = {"now": NOW} | dict(page.answers)
        given = {called: Traced(await ask(path), called) for called, path in answers.items()}
        sources = json.dumps({called: PREFIX + path for called, path in answers.items()})
        return self._rendered(
            request, page.template, 200, session=session, page=name, answers=given, sources=sources, live=page.live
        )

    async def _download(self, request: Request) -> Response:
        """The bundle of an incident, byte for byte as the control plane gives it."""
        session, incident = await self._session(request), request.path_params["incident"]
        if not _IDENTITY.fullmatch(incident):
            raise HTTPException(404, "There is no such page.")
        bundle = await self._control.file(f"/incidents/{incident}/export", session.caller)
        named = {"content-disposition": f'attachment; filename="{incident}.zip"', "cache-control": "no-store"}
        return Response(bundle, media_type="application/zip", headers=named)

    async def _act(self, request: Request) -> Response:
        session = await self._session(request)
        form = await _form(request)
        _genuine(request, session, form)
        action, identity = request.path_params["action"], request.path_params.get("id", "")
        if action not in ORDERS or not _IDENTITY.fullmatch(identity or "none"):
            raise HTTPException(404, "There is no such order.")
        order = ORDERS[action]
        try:
            said = await self._control.post(order.path.format(id=identity), body_of(action, form), session.caller)
        except Unanswered as error:
            session.notice = {"bad": True, "text": error.message, "action": action}
            return RedirectResponse(_inside(form.get("next")), 303)
        session.notice = {"bad": False, "text": order.done, "said": said, "action": action}
        return RedirectResponse(HOME + order.then.format(id=identity), 303)

    # ------------------------------------------------------------------ what goes wrong

    async def _unanswered(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, Unanswered)
        return self._problem(request, error.status, error.message)

    async def _http_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return self._problem(request, error.status_code, str(error.detail))

    def _problem(self, request: Request, status: int, text: str) -> Response:
        session = self._sessions.find(request.cookies.get(COOKIE))
        return self._rendered(request, "problem.html", status, session=session, missing=status == 404, text=text)

    # ------------------------------------------------------------------ rendering

    def _rendered(
        self, request: Request, template: str, status: int, *, headers: dict[str, str] | None = None, **given: Any
    ) -> Response:
        theme = request.cookies.get(THEME, "auto")
        session: Session | None = given.pop("session", None)
        notice = session.take_notice() if session else None
        answers: dict[str, Traced] = given.setdefault("answers", {})
        given = {"page": "", "live": False, "sources": "{}"} | given
        text = self._templates.get_template(template).render(
            given,
            session=session,
            notice=notice,
            said=Traced(notice.get("said"), "said") if notice else None,
            login=self._doorkeeper.login,
            theme=theme if theme in THEMES else "auto",
            path=request.url.path,
            **answers,
        )
        return self._kept(request, HTMLResponse(text, status, {"cache-control": "no-store"} | (headers or {})))

    def _kept(self, request: Request, response: Response) -> Response:
        """The response, with the cookie of a session that this request began."""
        if cookie := getattr(request.state, "cookie", None):
            secure = request.url.scheme == "https"
            response.set_cookie(
                COOKIE, cookie, int(HOURS * 3600), path=HOME, samesite="strict", httponly=True, secure=secure
            )
        return response


class _Away(Exception):
    """Somewhere else first."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where


async def _go(_: Request, away: Exception) -> Response:
    assert isinstance(away, _Away)
    return RedirectResponse(away.where, 303)


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form; HTTPException for what is none."""
    try:
        text = (await request.body()).decode()
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=20, strict_parsing=bool(text)))
    except ValueError:
        raise HTTPException(400, "This is not a form of these pages.") from None


def _genuine(request: Request, session: Session, form: dict[str, str]) -> None:
    """HTTPException for a form that another site, or an older session, made."""
    _same_site(request)
    if not session.genuine(form.get("token", "")):
        raise HTTPException(403, "This form is out of date: go back, load the page again, and send it from there.")


def _same_site(request: Request) -> None:
    """HTTPException for a form that a browser says another site sent."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    if site not in ("same-origin", "none") or (origin and urlsplit(origin).netloc != request.url.netloc):
        raise HTTPException(403, "This form was sent from another site.")


def _inside(path: str | None) -> str:
    """A path of these pages; the overview instead of anything else."""
    fit = path and re.fullmatch(rf"{HOME}/[\w./-]*", path, re.ASCII) and "//" not in path and ".." not in path
    return path if path and fit else f"{HOME}/"


def _why(refused: Refused) -> str:
    """What a person at the login page can do about a refused key."""
    if refused.status == 403:
        return "This is a client key: signing in takes an admin key."
    return "This key is not known here, or was revoked."


class _Guarded:
    """ASGI middleware: the headers of every response, of errors too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        await self._app(scope, receive, guarded)
