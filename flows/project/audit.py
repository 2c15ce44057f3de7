"""Known vulnerabilities of the locked packages, by pip-audit: `make audit`. Standard library only, besides pip-audit.

Exit status 0: every package was looked up and none is known to be vulnerable. 1: some are, and which. 2: the service
could not be reached, so that nothing is known: pip-audit itself takes a package that its service does not know, as one
behind a mirror seems, for one to be passed over, and then says that it found nothing.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-cuda.lock")
SERVICES = ("pypi", "osv")
SECONDS = 900


def ask(service: str, lock: str) -> list[dict[str, Any]] | str:
    """What a service says of the packages of a lock, one entry each, or why it cannot be asked."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "-r", str(ROOT / lock)]
    try:
        done = subprocess.run(
            [*command, "-s", service, "-f", "json", "--progress-spinner", "off"],
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {SECONDS} s"
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return (done.stderr.strip() or "no message").splitlines()[-1][:300]
    return found


def verdict(found: list[dict[str, Any]]) -> tuple[int, list[str]]:
    """The exit status, and what is to be said of packages that were looked up."""
    unknown = [each["name"] for each in found if "skip_reason" in each]
    if not found or len(unknown) == len(found):
        return 2, [f"none of {len(found)} packages is known to the service: it cannot be the one that was meant"]
    said = [
        f"{each['name']} {each['version']}: {vuln['id']} ({', '.join(vuln['aliases'])}), mended in "
        f"{', '.join(vuln['fix_versions']) or 'no version yet'}"
        for each in found
        for vuln in each.get("vulns", ())
    ]
    if unknown:
        said.append(f"not looked up: {', '.join(unknown)}")
    return int(any("vulns" in each and each["vulns"] for each in found)), said


def main() -> None:
    """Ask the first service that answers."""
    for service in SERVICES:
        answers = [ask(service, lock) for lock in LOCKS]
        found = [entry for answer in answers if not isinstance(answer, str) for entry in answer]
        faults = [answer for answer in answers if isinstance(answer, str)]
        status, said = (2, faults) if faults else verdict(found)
        if status != 2:
            print("\n".join(said))
            print(f"{len(found)} packages looked up by {service}: {'VULNERABLE' if status else 'nothing known'}")
            sys.exit(status)
        print(f"pip-audit cannot reach its service {service}: {'; '.join(said)}", file=sys.stderr)
    print("nothing was audited: run `make audit` where the network reaches a vulnerability service", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
