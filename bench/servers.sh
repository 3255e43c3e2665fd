# One start_<name> function per server: starts it in the foreground form through run(), for the zone in $Z.
# Sourced by lib.sh. PORT_<name> is its port; ADDR_<name> its address where that is not 127.0.0.1.
# args_<name> (update servers) prints the arguments with which the load client speaks to it.

: "${NSD:=nsd}" "${KNOTD:=knotd}" "${NAMED:=named}"

# --- godwit --------------------------------------------------------------------------------------------

: "${PORT_godwit:=$((PORT_BASE + 70))}" "${PORT_godwit_http:=$((PORT_BASE + 71))}" "${PORT_godwit_https:=$((PORT_BASE + 72))}"
start_godwit() {
	godwit_data godwit
	[ -f "$RUN/tls.pem" ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
		-addext subjectAltName=DNS:localhost -keyout "$RUN/tls.key" -out "$RUN/tls.pem" 2>/dev/null || die "openssl made no certificate"
	run godwit "$BIN/godwit" serve --zone dyn.example.com --data "$Z/godwit-data" --dns "$(addr godwit)" \
		--http "127.0.0.1:$PORT_godwit_http" --https "127.0.0.1:$PORT_godwit_https" --tls-cert "$RUN/tls.pem" --tls-key "$RUN/tls.key" \
		--changes-per-hour 0 --requests-per-second 0 --responses-per-second 0
}
args_godwit() { echo "-seed http://127.0.0.1:$PORT_godwit_http/ -creds $Z/godwit-creds -spread -dns $(addr godwit)"; }

# The same server through its dyndns2 door: each a change; each no change; changes over TLS connections that stay open; changes over
# a TLS connection each, which resumes the session of the one before or does not.
same_godwit_dyndns2=godwit same_godwit_nochg=godwit same_godwit_tls=godwit same_godwit_resumed=godwit same_godwit_oneshot=godwit
godwit_nic() { echo "-nic $1://127.0.0.1:$2/nic/update -creds $Z/godwit-creds -spread -dns $(addr godwit)"; }
args_godwit_dyndns2() { godwit_nic http "$PORT_godwit_http"; }
args_godwit_nochg() { echo "$(godwit_nic http "$PORT_godwit_http") -same"; }
args_godwit_tls() { godwit_nic https "$PORT_godwit_https"; }
args_godwit_resumed() { echo "$(godwit_nic https "$PORT_godwit_https") -newconn -resume"; }
args_godwit_oneshot() { echo "$(godwit_nic https "$PORT_godwit_https") -newconn"; }

# The same hosts in a zone that it signs.
: "${PORT_godwit_signed:=$((PORT_BASE + 76))}"
start_godwit_signed() {
	godwit_data godwit
	rm -rf "$RUN/godwit_signed-data" && cp -r "$Z/godwit-data" "$RUN/godwit_signed-data" || die "no copy of the hosts"
	run godwit_signed "$BIN/godwit" serve --zone dyn.example.com --dnssec dyn.example.com --data "$RUN/godwit_signed-data" --dns "$(addr godwit_signed)" \
		--http "127.0.0.1:$((PORT_BASE + 77))" --responses-per-second 0
}

# Its door of UPDATE messages, with a TSIG key for each host.
: "${PORT_godwit_rfc2136:=$((PORT_BASE + 73))}"
start_godwit_rfc2136() {
	godwit_data tsig
	run godwit_rfc2136 "$BIN/godwit" serve --zone dyn.example.com --data "$Z/tsig-data" --dns "$(addr godwit_rfc2136)" --http "127.0.0.1:$((PORT_BASE + 74))" \
		--changes-per-hour 0 --requests-per-second 0 --responses-per-second 0
}
args_godwit_rfc2136() { echo "-rfc2136 $(addr godwit_rfc2136) -creds $Z/tsig-creds"; }

# godwit_data KIND: imports the hosts of $Z/KIND-N.json once.
godwit_data() {
	built godwit
	[ -f "$Z/$1-data/imported" ] && return
	local f p i
	rm -rf "$Z/$1-data"
	"$BIN/godwit" serve --zone dyn.example.com --data "$Z/$1-data" --dns "$(addr godwit)" \
		--http "127.0.0.1:$PORT_godwit_http" >"$RUN/import.log" 2>&1 & p=$!
	for i in $(seq 100); do [ -S "$Z/$1-data/admin.sock" ] && break; sleep 0.1; done
	for f in "$Z/$1"-?.json; do
		say "importing $f"
		"$BIN/godwit" host import "$f" --target "local:$Z/$1-data" >>"$RUN/import.log" 2>&1 || { kill "$p"; die "the import failed; see $RUN/import.log"; }
	done
	kill "$p"; wait "$p"
	touch "$Z/$1-data/imported"
}

# --- answering -----------------------------------------------------------------------------------------

: "${PORT_nsd:=$((PORT_BASE + 1))}"
start_nsd() { conf nsd.conf nsd; run nsd "$NSD" -d -c "$C"; }

: "${PORT_knot:=$((PORT_BASE + 2))}"
start_knot() { conf knot.conf knot; mkdir "$D/run" "$D/db"; run knot "$KNOTD" -c "$C"; }

: "${PORT_knot_signed:=$((PORT_BASE + 4))}"
start_knot_signed() { conf knot-signed.conf knot_signed; mkdir "$D/run" "$D/db"; run knot_signed "$KNOTD" -c "$C"; }

: "${PORT_bind:=$((PORT_BASE + 3))}"
start_bind() { conf named.conf bind; run bind "$NAMED" -f -n 1 -c "$C"; }

# --- updating ------------------------------------------------------------------------------------------

TSIG=k:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE= # the key in conf/*-upd.conf

: "${PORT_ubind:=$((PORT_BASE + 21))}"
start_ubind() { conf named-upd.conf ubind; cp "$Z/zone" "$D/zone"; run ubind "$NAMED" -f -n 1 -c "$C"; }
args_ubind() { echo "-rfc2136 $(addr ubind) -tsig $TSIG"; }

: "${PORT_uknot:=$((PORT_BASE + 22))}"
start_uknot() { conf knot-upd.conf uknot; mkdir "$D/run" "$D/db"; cp "$Z/zone" "$D/zone"; run uknot "$KNOTD" -c "$C"; }
args_uknot() { echo "-rfc2136 $(addr uknot) -tsig $TSIG"; }
