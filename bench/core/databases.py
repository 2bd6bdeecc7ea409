"""Addresses of database servers: their form, and the drivers they need."""

from bench.core.errors import UserError

#: Database driver → the package that holds it, where that has another name.
DRIVER_PACKAGES = {"psycopg": "'psycopg[binary]'", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}


def check_database(address: str) -> None:
    """Refuse what cannot be the address of a database server; nothing is connected to.

    Raises:
        ValueError: with what was expected. The address itself is not in the message.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(address)
        url.get_dialect()
    except ArgumentError:
        raise ValueError("no database has this driver or form; expected postgresql://host/name") from None
    except ImportError:
        return  # told by `check_driver`
    except ValueError:
        raise ValueError("expected postgresql://host:5432/name with a port that is a number") from None
    if url.port == 0 or (url.port or 1) > 65535:
        raise ValueError("expected a port from 1 to 65535")


def check_driver(address: str) -> None:
    """Refuse the address of a database server whose driver is not installed.

    Raises:
        UserError: with the package to install.
    """
    from sqlalchemy import make_url

    try:
        make_url(address).get_dialect().import_dbapi()
    except ImportError as error:
        name = error.name or str(error)
        package = DRIVER_PACKAGES.get(name, name)
        kind = address.partition("://")[0]
        raise UserError(
            f"a store at {kind}:// needs the driver {name}, which is not installed: pip install {package}"
        ) from None
