"""Make the passwords of an installation of the demo stack once, as files in two volumes.

    python3 -m deploy.demo.passwords --redis FOLDER --grafana FOLDER

Run by ``docker-compose.yml`` before anything else. Existing files are kept, so that a restart changes nothing, and an
operator can provide other files. Only names of files are printed.

``--redis`` gets the access list of Redis (the hash, not the password; see SECURITY.md) and the URL in a file with the name of its
setting, which gateway and worker read from /run/secrets. ``--grafana`` gets the administrator's password.
"""

import argparse
import hashlib
import secrets
from pathlib import Path

COMMANDS = "-@all +@read +@write +@connection +@transaction -@dangerous +info"
URL_FILE = "slimrank_redis_url"


def write_redis(folder: Path) -> list[Path]:
    """Write ``users.acl`` and the URL unless both are there; return the written files.

    Without a password only PING is allowed, which health checks use.
    """
    acl, url = folder / "users.acl", folder / URL_FILE
    if acl.exists() and url.exists():
        return []
    password = secrets.token_urlsafe(32)
    hashed = hashlib.sha256(password.encode()).hexdigest()
    _write(url, f"redis://slimrank:{password}@redis:6379/0")
    _write(
        acl,
        f"user default on nopass resetkeys resetchannels -@all +ping\nuser slimrank on #{hashed} ~slimrank:* resetchannels {COMMANDS}\n",
    )
    return [acl, url]


def write_grafana(folder: Path) -> list[Path]:
    """Write the administrator's password unless it is there.

    Every user of a container that mounts the folder can read it, since Grafana does not run as our user.
    """
    password = folder / "password"
    if password.exists():
        return []
    _write(password, secrets.token_urlsafe(32), mode=0o444)
    return [password]


def _write(path: Path, text: str, *, mode: int = 0o400) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def main() -> None:
    """Write the missing files and print their names."""
    parser = argparse.ArgumentParser(description="Make the passwords of one installation, once.")
    parser.add_argument("--redis", type=Path, required=True, metavar="FOLDER", help="for Redis, gateway and worker")
    parser.add_argument("--grafana", type=Path, required=True, metavar="FOLDER", help="for Grafana")
    chosen = parser.parse_args()
    made = [*write_redis(chosen.redis), *write_grafana(chosen.grafana)]
    print("made " + ", ".join(map(str, made)) if made else "every password is there already")


if __name__ == "__main__":
    main()
