#!/bin/sh
# Takes secrets from files, as container platforms mount them: where TOLLWAY_GATE_TOKEN_FILE
# names a file, its content becomes TOLLWAY_GATE_TOKEN for the program that follows.
set -eu
for name in TOLLWAY_GATE_TOKEN TOLLWAY_ADMIN_TOKEN; do
  file=$(printenv "${name}_FILE") || continue
  value=$(cat "$file")
  export "$name=$value"
done
exec "$@"
