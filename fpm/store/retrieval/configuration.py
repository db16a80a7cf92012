"""What feature_store.yaml leaves open: where registry, ledger, lake and online tables are, for one role.

No password is in it: libpq reads those of the embedded server from their files.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Literal

from psycopg.conninfo import make_conninfo

from fpm.store.addresses import SECRET_PARTS
from fpm.store.postgres.server import ensure_server

if TYPE_CHECKING:
    from fpm.store.postgres.server import Server
    from fpm.store.settings import Settings

REGISTRY_SCHEMA = "feast"


def variables(settings: Settings, role: Literal["producer", "reader"]) -> dict[str, str]:
    """The environment of Feast's own entry and command for a role, by the names in feature_store.yaml.

    A reader sees the published session, a producer the tables behind it; the registry is read as the producer, who may
    not write it. Where the server is the user's own, the password stays out: libpq takes it from PGPASSWORD or from a
    passfile.
    """
    server = ensure_server(settings)
    ledger = server.for_role("producer").read_only()
    online = server.for_role(role)
    return {
        "FPM_FEAST_REGISTRY": registry(ledger),
        "FPM_FEAST_LAKE": str(settings.lake.absolute()),
        "FPM_FEAST_LEDGER": _open(ledger),
        "FPM_FEAST_ONLINE": _open(online),
        "FPM_FEAST_PLACE": "serving" if role == "reader" else "online",
    }


def feast_file() -> str:
    """The path of feature_store.yaml; the definitions lie beside it."""
    return str(resources.files("feature_repo") / "feature_store.yaml")


def registry(server: Server) -> str:
    """The registry's address for SQLAlchemy: the same database, in a schema of its own; without what is secret."""
    import sqlalchemy as sa  # half a second

    parts = {name: value for name, value in server.parts.items() if name not in SECRET_PARTS}
    user = parts.pop("user", None)
    database = parts.pop("dbname", None)
    parts["options"] = f"{parts.get('options') or ''} -c search_path={REGISTRY_SCHEMA}".strip()
    query = {name: str(value) for name, value in parts.items() if value is not None}
    url = sa.URL.create("postgresql+psycopg", username=user, database=database, query=query)
    return url.render_as_string(hide_password=False)


def _open(server: Server) -> str:
    """A connection string without what is secret."""
    return make_conninfo("", **{name: value for name, value in server.parts.items() if name not in SECRET_PARTS})
