#!/bin/sh
# Fills environment variables into envoy.yaml:
#
#   sh envoy/render.sh < envoy/envoy.yaml > /tmp/envoy.yaml
#
# On a line that ends in "# env: NAME", the value is replaced by the variable NAME where that is
# set; after ": |" the value is the indented block below.
#
# A line that begins with "#if NAME: " is taken in, without that beginning, where NAME is set.
#
# --mode static     everything in one file (the default)
# --mode bootstrap  without the listeners, which Envoy then watches in the file that
#                   TOLLWAY_LDS_PATH names
# --mode lds        that file: replace it by an atomic `mv`, and Envoy loads it without a restart
set -eu

mode=static
while [ $# -gt 0 ]; do
  case "$1" in
    --mode) mode="${2:-}"; shift; [ $# -eq 0 ] || shift ;;
    *) echo "render.sh: expected --mode static|bootstrap|lds, but found $1" >&2; exit 64 ;;
  esac
done
case "$mode" in
  static | lds) ;;
  bootstrap) : "${TOLLWAY_LDS_PATH:?names the file with the listeners}" ;;
  *) echo "render.sh: expected the mode static, bootstrap or lds, but found '$mode'" >&2; exit 64 ;;
esac

exec awk -v mode="$mode" '
function indent(line) { match(line, /^ */); return RLENGTH }

# A number as it is, any other text as a quoted string.
function yaml(value) {
  if (value ~ /^[0-9]+$/) return value
  gsub(/\047/, "\047\047", value)
  return "\047" value "\047"
}

BEGIN { if (mode == "lds") print "resources:" }

# A block that a variable has replaced.
skip_deeper { if ($0 ~ /^ *$/ || indent($0) > skip_indent) next; skip_deeper = 0 }

# Where the listeners begin and end.
/^  [a-z_]+:/ { in_listeners = ($0 ~ /^  listeners:/); if (in_listeners && mode != "static") next }
/^[a-z_]+:/ { in_listeners = 0 }
mode == "lds" && !in_listeners { next }
mode == "bootstrap" && in_listeners { next }

mode == "lds" && /^    - name:/ {
  print "    - \"@type\": type.googleapis.com/envoy.config.listener.v3.Listener"
  sub(/- /, "  ")
}

/^ *#if [A-Z][A-Z0-9_]*: / {
  name = $2
  sub(/:$/, "", name)
  if (ENVIRON[name] != "") sub(/#if [A-Z][A-Z0-9_]*: /, "")
}

/# env: [A-Z][A-Z0-9_]*$/ && !/^ *#/ {
  name = $NF
  if (ENVIRON[name] != "") {
    key = $0
    sub(/:.*/, "", key)
    if ($0 ~ /: \| # env:/) { skip_deeper = 1; skip_indent = indent($0) }
    print key ": " yaml(ENVIRON[name])
    next
  }
}

{ print }

END {
  if (mode == "bootstrap") {
    print "dynamic_resources:"
    print "  lds_config:"
    print "    path_config_source:"
    print "      path: " yaml(ENVIRON["TOLLWAY_LDS_PATH"])
  }
}'
