"""The handler of ``/`` for browsers."""

import html
import json
from importlib.resources import files
from string import Template

from kfp_lifecycle.components.serve.server.host import Host
from kfp_lifecycle.components.serve.server.http import HttpRequest, HttpResponse, Routes
from kfp_lifecycle.components.serve.server.page.card import model_card

#: The page is one file and loads nothing; what it sends goes to this server alone.
_POLICY = (
    b"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
    b"img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page_routes(host: Host) -> Routes:
    """The path of the page.

    Args:
        host: The models: what is loaded when the page is asked for is what it shows.
    """
    template = Template(files(__package__).joinpath("page.html").read_text(encoding="utf-8"))

    async def show(request: HttpRequest) -> HttpResponse:
        roles = {id(host.stable): "stable"}
        models = [model_card(served, roles.get(id(served), "candidate")) for served in host.models]
        # Within a script element only "<" could end it.
        data = json.dumps({"models": models}, ensure_ascii=False, default=str).replace("<", "\\u003c")
        page = template.substitute(title=html.escape(host.name), data=data)
        headers = ((b"content-security-policy", _POLICY), (b"x-content-type-options", b"nosniff"))
        return HttpResponse(page.encode(), content_type=b"text/html; charset=utf-8", headers=headers)

    return {("GET", "/"): show}
