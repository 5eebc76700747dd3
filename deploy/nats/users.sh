#!/bin/sh
# Writes the users of the NATS server and what each may do, from one line for each:
#   control-plane PASSWORD
#   projector PASSWORD
#   gateway GATEWAY_ID PASSWORD ORG_ID...     (ORG_ID `*`: all organisations)
# Usage: users.sh < users.txt > users.conf. A password may be a bcrypt hash (`nats server passwd`).
#
# What a gateway may not do is told by what is absent: it cannot publish another gateway's spend,
# receipts or calls, nor any event, mark, ledger, recall or heartbeat; it cannot read another's
# replies; it cannot make, change, purge or ask about a stream, and cannot make a consumer without a
# filter that it may read. It may publish nothing to JetStream but the making of such consumers.
#
# What NATS cannot forbid: the subject to which the answer to a request goes. A stolen gateway
# credential can have the server's answers, and the events that it may read, put on a foreign
# subject, but never bytes of its own.
# Whoever reads must take such bytes for noise; ours do.
set -eu

quote() {
  case $1 in
  *[!A-Za-z0-9_.\$/*-]*) echo "users.sh: not a plain word: $1" >&2; exit 2 ;;
  esac
  printf '"%s"' "$1"
}

list() {
  for subject in "$@"; do printf '        "%s"\n' "$subject"; done
}

user() {
  printf '    { user: %s, password: %s, permissions: {\n' "$(quote "$1")" "$(quote "$2")"
}

# The control plane and the projector hold the store; NATS guards nothing from them but its record.
service() {
  user "$1" "$2"
  printf '      allow_responses: true\n      publish: { allow: [\n'
  list 'turnpike.v1.>' '_INBOX.>' '$JS.FC.>'
  for stream in TURNPIKE_EVENTS TURNPIKE_SPEND TURNPIKE_LEDGER; do
    list "\$JS.API.STREAM.CREATE.$stream" "\$JS.API.STREAM.UPDATE.$stream" \
      "\$JS.API.STREAM.INFO.$stream" "\$JS.API.CONSUMER.CREATE.$stream.>"
  done
  printf '      ] }\n      subscribe: { allow: [\n'
  list 'turnpike.v1.>' '_INBOX.>'
  printf '      ] }\n    } }\n'
}

gateway() {
  id=$1 password=$2
  shift 2
  user "$id" "$password"
  printf '      publish: { allow: [\n'
  list "_INBOX_$id.>" '$JS.FC.TURNPIKE_EVENTS.>' \
    '$JS.API.CONSUMER.CREATE.TURNPIKE_EVENTS.*.turnpike.v1.platform.events.*'
  for org in "$@"; do
    list "turnpike.v1.$org.spend.$id" "turnpike.v1.$org.receipts.$id" \
      "turnpike.v1.$org.authority.$id" \
      "\$JS.API.CONSUMER.CREATE.TURNPIKE_EVENTS.*.turnpike.v1.$org.events.*"
  done
  printf '      ] }\n      subscribe: { allow: [\n'
  list "_INBOX_$id.>" "turnpike.v1.*.booked.$id" 'turnpike.v1.platform.heartbeat'
  for org in "$@"; do list "turnpike.v1.$org.heartbeat" "turnpike.v1.$org.recall"; done
  printf '      ] }\n    } }\n'
}

set -f # `*` is an organisation here, not the files of this directory.
echo 'authorization {'
echo '  users: ['
while read -r kind rest; do
  # shellcheck disable=SC2086 # The words of the line are the arguments.
  case $kind in
  '' | '#'*) ;;
  control-plane | projector) service "$kind" $rest ;;
  gateway)
    for word in $rest; do quote "$word" >/dev/null; done
    gateway $rest
    ;;
  *) echo "users.sh: neither control-plane, projector nor gateway: $kind" >&2; exit 2 ;;
  esac
done
echo '  ]'
echo '}'
