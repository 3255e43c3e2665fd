#!/usr/bin/env bash
# lambda.sh [-r ROUNDS] [-n EVENTS] [INDEX_PY]
# Start, warm cost, memory and size of the Lambda form against awsstub, in turn with the reference implementation's function
# where INDEX_PY is its index.py. PYTHON is the interpreter that has boto3 (default python3).
#
# Rows 'own:…' call their handler in their own process, rows 'boot:…' go through the Runtime API from outside, as on AWS:
# compare like with like. Each event is a changed update; row 'boot:same' is our function with updates that change nothing.
# GetItem, UpdateItem, List and Change are the upstream calls of a run, the first event included.
. "$(dirname "$0")/lib.sh"
rounds=7 n=400
while getopts r:n: f; do case $f in r) rounds=$OPTARG ;; n) n=$OPTARG ;; *) exit 2 ;; esac; done
shift $((OPTIND - 1))
index=${1:-}
[ -z "$index" ] || [ -f "$index" ] || die "no file $index"
: "${PYTHON:=python3}" "${PORT_awsstub:=$((PORT_BASE + 60))}"
need curl python3 zip
built awsstub t0exec lamdrive bootstrap bootstrap-timed
[ -z "$index" ] || "$PYTHON" -c 'import boto3' || die "$PYTHON has no boto3 (apt-get install python3-boto3, or set PYTHON)"
# A version manager's wrapper would be timed too.
[ -z "$index" ] || PYTHON=$("$PYTHON" -c 'import sys; print(sys.executable)')

stub=http://127.0.0.1:$PORT_awsstub
export AWS_ACCESS_KEY_ID=AKIDEXAMPLE AWS_SECRET_ACCESS_KEY=secret AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true
export AWS_ENDPOINT_URL=$stub ddns_config_table=hosts
export GODWIT_TABLE=hosts GODWIT_ZONES=example.com=Z123 GODWIT_CHANGES_PER_HOUR=0 GODWIT_REQUESTS_PER_SECOND=0 GODWIT_ROUTE53_REQUESTS_PER_SECOND=1000000
unset AWS_PROFILE AWS_SESSION_TOKEN
# the stub is the other side here: it runs on the load's core
pre=("${SERVER_PRE[@]}"); SERVER_PRE=("${CLIENT_PRE[@]}")
run awsstub "$BIN/awsstub" "127.0.0.1:$PORT_awsstub"
SERVER_PRE=("${pre[@]}")
ready_tcp "$PORT_awsstub"
curl -s "$stub/count" >/dev/null

out=$BENCH_DIR/lambda-$(date +%Y%m%dT%H%M%S).txt
case1() { # LABEL CMD...: one run, with the upstream calls it made
	local l=$1 o; shift
	o=$("$@" 2>"$RUN/lambda.log" | tail -n 1) || { tail -n 5 "$RUN/lambda.log" >&2; die "$l failed"; }
	echo "$l $o $(curl -s "$stub/count")" | tee -a "$out"
}
own() { local l=own:$1; shift; case1 "$l" "${HIGH[@]}" "$BIN/t0exec" "$SERVER_CPU" "$@"; }
boot() { # LABEL EVENTS FLAGS-OF-LAMDRIVE CMD...
	local l=boot:$1 n=$2 flags=$3; shift 3
	# shellcheck disable=SC2086
	case1 "$l" "${HIGH[@]}" "$BIN/t0exec" "$CLIENT_CPU" "$BIN/lamdrive" -n "$n" $flags "$BIN/t0exec" "$SERVER_CPU" "$@"
}
for _ in $(seq "$rounds"); do
	if [ -n "$index" ]; then
		own reference "$PYTHON" "$HERE/src/pyref/drive.py" "$index" "$stub" $((n / 6))
		boot reference $((n / 6)) "" "$PYTHON" "$HERE/src/pyref/drive.py" "$index" "$stub"
	fi
	own godwit "$BIN/bootstrap-timed" "$n"
	boot godwit "$n" "" "$BIN/bootstrap"
	boot same "$n" "-same -address 198.51.0.1" "$BIN/bootstrap"
done
echo
python3 "$HERE/median.py" "$out"
(cd "$BIN" && rm -f godwit-lambda.zip && zip -q -9 godwit-lambda.zip bootstrap && stat -c 'zip: %s bytes (zip -9 of bootstrap, %n)' godwit-lambda.zip)
