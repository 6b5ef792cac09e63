#!/bin/bash
# PostgreSQL's own regression suite as the workload of a database that Tidemark protects; then every restore compared with the source.
#
#   suite.sh CHECKOUT REGRESS      (npm run test:regress fetches both, and runs it)
#     CHECKOUT  Tidemark with `npm ci` done
#     REGRESS   src/test/regress of the server's exact version: sql/, data/, expected/, parallel_schedule (regress.so is built if it can be)
#   PGBIN     folder with initdb, postgres, psql, pg_dump, pg_config of that version      (default: pg_config --bindir)
#   PGOS      unprivileged account that runs the server when this runs as root            (default: nobody)
#   WORK      work folder                                                                 (default: a fresh one in TMPDIR; about 2 GB)
#   PORT      of the server; +1 is up's http port                                         (default: 16300, below what the system gives to clients)
#   ALLOW     file of allowed differences: one regular expression a line, against "PLAN|KIND|NAME|WHAT" (# comments)
#                                                                                         (default: allowance beside this file)
#   SNAPS     schedule lines (counted from 1) whose state is dumped and restored          (default: 6 11 16 22 last)
#   STAGES    of: control stream base restore report                                      (default: all)
#   SKIP      test files to leave out, by name                                            (default: none)
#   ONLY      schedule lines to run, e.g. "1-7 12": many files need what earlier ones make (default: all)
#   POINTS    what to restore and compare: of SNAPS as gN, and base                        (default: all)
# Again from what a run left, without the suite: the same WORK, STAGES="restore report" (base too, to read the end state again), POINTS as wanted.
# Last line: one summary. Exit 0 only if everything is equal apart from the allowance.
set -u
T=$(cd "$1" && pwd); R=$(cd "$2" && pwd)
PGBIN=${PGBIN:-$(pg_config --bindir)}; PGOS=${PGOS:-nobody}; PORT=${PORT:-16300}
WORK=${WORK:-$(mktemp -d)}; mkdir -p "$WORK"; WORK=$(cd "$WORK" && pwd); chmod 755 "$WORK"
SKIP=${SKIP:-}
STAGES=${STAGES:-control stream base restore report}; HERE=$(cd "$(dirname "$0")" && pwd); ALLOW=${ALLOW:-$HERE/allowance}; [ -f "$ALLOW" ] || ALLOW=/dev/null
MAJOR=$("$PGBIN/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
LINES_=$(grep -c '^test:' "$R/parallel_schedule")
SNAPS=${SNAPS:-"6 11 16 22 $LINES_"}; SNAPS=${SNAPS//last/$LINES_}
ONLY=$(for part in ${ONLY:-1-$LINES_}; do seq -s' ' "${part%-*}" "${part#*-}"; done | tr '\n' ' ')
SNAPS=$(for n in $SNAPS; do case " $ONLY " in *" $n "*) echo "$n";; esac; done | tr '\n' ' '); [ -n "$SNAPS" ] || SNAPS=${ONLY##* }
POINTS=${POINTS:-$(for n in $SNAPS; do printf 'g%s ' "$n"; done)base}
wanted() { case " $2 " in *" $1 "*) return 0;; esac; return 1; }
export LC_ALL=C PGHOST=127.0.0.1 PGPORT=$PORT PGUSER=postgres PGCONNECT_TIMEOUT=20
unset PGDATABASE PGOPTIONS
URL() { echo "postgresql://postgres@127.0.0.1:$PORT/$1"; }
NICE="nice -n 5"
asos() { if [ "$(id -u)" = 0 ]; then setpriv --reuid "$PGOS" --regid "$(id -g "$PGOS")" --clear-groups env HOME=/ "$@"; else "$@"; fi; }
say() { echo "$(date +%T) $*" | tee -a "$WORK/run.log"; }
tm() { (cd "$WORK/tm-$1" && shift && exec $NICE node "$T/services/entry/tidemark.cjs" "$@"); }

# --- the server -------------------------------------------------------------------------------------------------------
libs() { # a folder with regress.so and the server's own modules
  mkdir -p "$WORK/lib"
  local so="$R/regress.so"
  [ -f "$so" ] || { so="$WORK/regress.so"; cc -O1 -fPIC -shared -I"$("$PGBIN/pg_config" --includedir-server)" -o "$so" "$R/regress.c" 2>"$WORK/regress.so.log" || say "no regress.so: tests with C functions print errors"; }
  ln -sf "$so" "$WORK/lib/regress.so"
  for f in "$("$PGBIN/pg_config" --pkglibdir)"/*.so; do ln -sf "$f" "$WORK/lib/"; done
}
server_start() { # NAME
  PGD="$WORK/pg-$1"
  if [ ! -d "$PGD" ]; then
    mkdir -p "$PGD"; [ "$(id -u)" = 0 ] && chown "$PGOS" "$PGD"; chmod 700 "$PGD"
    asos "$PGBIN/initdb" -D "$PGD" -U postgres --no-locale -E UTF8 -N -A trust >"$WORK/initdb-$1.log" 2>&1 || { say "initdb failed"; exit 2; }
    cat >>"$PGD/postgresql.conf" <<E
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
wal_level = logical
fsync = off
max_prepared_transactions = 2
max_wal_senders = 10
max_replication_slots = 10
shared_buffers = 256MB
max_wal_size = 4GB
log_statement = none
timezone = 'America/Los_Angeles'
datestyle = 'postgres, mdy'
E
  fi
  asos "$PGBIN/pg_ctl" -D "$PGD" -l "$PGD/server.log" -o "-p $PORT" -w -t 60 start >/dev/null || { say "server does not start"; exit 2; }
  PG_RUNNING=$PGD
}
server_stop() { [ -n "${PG_RUNNING:-}" ] && asos "$PGBIN/pg_ctl" -D "$PG_RUNNING" -m fast -w stop >/dev/null; PG_RUNNING=; }
UP_PID=
cleanup() { up_stop; [ -n "${SAMPLER:-}" ] && kill "$SAMPLER" 2>/dev/null; server_stop; }
trap cleanup EXIT
trap 'exit 130' INT TERM

# --- the suite --------------------------------------------------------------------------------------------------------
suite_db() { # NAME
  "$PGBIN/psql" -X -q -d postgres -c "CREATE DATABASE $1 TEMPLATE template0" \
    -c "ALTER DATABASE $1 SET lc_messages TO 'C'" -c "ALTER DATABASE $1 SET lc_monetary TO 'C'" -c "ALTER DATABASE $1 SET lc_numeric TO 'C'" -c "ALTER DATABASE $1 SET lc_time TO 'C'" \
    -c "ALTER DATABASE $1 SET bytea_output TO 'hex'" -c "ALTER DATABASE $1 SET timezone_abbreviations TO 'Default'"
}
suite_file() { # OUTDIR TEST
  (cd "$1" && PG_ABS_SRCDIR="$R" PG_ABS_BUILDDIR="$1" PG_LIBDIR="$WORK/lib" PG_DLSUFFIX=.so PGTZ=America/Los_Angeles PGDATESTYLE='Postgres, MDY' PGDATABASE=regression \
    $NICE timeout -k 5 600 "$PGBIN/psql" -X -a -q -d regression -v HIDE_TABLEAM=on -v HIDE_TOAST_COMPRESSION=on <"$R/sql/$2.sql" >"results/$2.out" 2>&1) || echo "$2 exit $?" >>"$1/exits"
}
suite_out() { mkdir -p "$1/results"; : >"$1/exits"; chmod 777 "$1" "$1/results"; }
schedule() { grep '^test:' "$R/parallel_schedule" | sed 's/^test: *//'; }
skipped() { wanted "$1" "$SKIP"; }

# --- Tidemark ---------------------------------------------------------------------------------------------------------
up_start() { # NAME
  (cd "$WORK/tm-$1" && exec $NICE node "$T/services/entry/tidemark.cjs" up --json --http-port 0 >>"$WORK/up-$1.json" 2>>"$WORK/up-$1.err") & UP_PID=$!
  (while kill -0 $UP_PID 2>/dev/null; do ps -o rss= --ppid $UP_PID -p $UP_PID | awk '{s+=$1} END {print s}'; sleep 2; done >>"$WORK/up-$1.rss") & SAMPLER=$!
}
up_stop() { [ -n "$UP_PID" ] && kill -TERM "$UP_PID" 2>/dev/null && wait "$UP_PID" 2>/dev/null; UP_PID=; }
up_wait() { # NAME EVENT SECONDS
  for _ in $(seq 1 "$3"); do grep -q "\"event\":\"$2\"" "$WORK/up-$1.json" 2>/dev/null && return 0; kill -0 "$UP_PID" 2>/dev/null || return 1; sleep 1; done; return 1
}
tm_init() { # NAME DB
  mkdir -p "$WORK/tm-$1"; tm "$1" init --source "$(URL "$2")" --name "tm_$1" --store "file://$WORK/tm-$1/store" --keys "$WORK/tm-$1/keys" --yes --json >"$WORK/init-$1.json" 2>&1 || { say "init failed: $(tail -1 "$WORK/init-$1.json")"; return 1; }
}

# Those that a copy will close: a table that is left out of the publication has none.
open_gaps() { tm stream status --json 2>/dev/null | tail -1 | python3 -c '
import sys, json
gaps = [gap for gap in json.load(sys.stdin).get("gaps", []) if gap["open"]]
out = {gap["scope"] for gap in gaps if gap["reason"].startswith("it is left out of the publication")}
for gap in gaps:
    if gap["scope"] not in out: print(gap["scope"])'; }

# --- what a database holds --------------------------------------------------------------------------------------------
snapshot() { # DB DIR
  mkdir -p "$2/data"; chmod 777 "$2" "$2/data"
  $NICE "$PGBIN/pg_dump" --schema-only --no-sync -d "$1" >"$2/schema.sql" 2>"$2/pg_dump.err" || echo "pg_dump failed: $(head -1 "$2/pg_dump.err")" >"$2/pg_dump.failed"
  export PGOPTIONS="-c datestyle=ISO -c timezone=UTC -c intervalstyle=postgres -c extra_float_digits=1 -c bytea_output=hex -c search_path=$([ "$MAJOR" -ge 17 ] && echo ' -c event_triggers=off') -c row_security=off -c lc_monetary=C -c xmloption=content -c statement_timeout=120s"
  "$PGBIN/psql" -X -q -At -d "$1" -c "SELECT format('%s|%s|%s|%I.%I', c.oid, c.relkind, c.relpersistence, n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r','m','p','f','S','v') AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog','information_schema','tidemark') ORDER BY 1" >"$2/relations"
  python3 - "$2" <<'P' >"$2/copy.sql"
import sys, re
d = sys.argv[1]
for line in open(d + '/relations'):
    oid, kind, pers, name = line.rstrip('\n').split('|', 3)
    if kind in 'rm': print(f"COPY (SELECT * FROM {'ONLY ' if kind == 'r' else ''}{name}) TO '{d}/data/{oid}';")
P
  $NICE "$PGBIN/psql" -X -q -d "$1" -f "$2/copy.sql" >"$2/copy.log" 2>&1
  # Replica identities that Tidemark gave: a restore gives back what was before.
  : >"$2/given"
  [ "$("$PGBIN/psql" -X -q -At -d "$1" -c "SELECT to_regclass('tidemark.identity') IS NOT NULL")" != t ] || "$PGBIN/psql" -X -q -At -d "$1" -c "SELECT format('%I.%I', n.nspname, c.relname) || '|' || COALESCE((SELECT format('%I.%I', n.nspname, x.relname) FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = c.oid AND i.indisreplident), '')
     FROM tidemark.identity g JOIN pg_class c ON c.oid::bigint = g.oid AND c.relreplident::text = g.given JOIN pg_namespace n ON n.oid = c.relnamespace" >"$2/given"
  # What pg_dump does not show.
  "$PGBIN/psql" -X -q -At -d "$1" >"$2/facts" 2>"$2/facts.err" <<'Q'
SELECT format('sequence|%I.%I|', n.nspname, c.relname), (SELECT format('last %s', pg_sequence_last_value(c.oid))) FROM pg_class c JOIN pg_namespace n ON n.oid=c.relnamespace WHERE c.relkind='S' AND c.relpersistence<>'t' AND n.nspname<>'tidemark';
SELECT format('matview|%I.%I|populated %s', n.nspname, c.relname, c.relispopulated) FROM pg_class c JOIN pg_namespace n ON n.oid=c.relnamespace WHERE c.relkind='m';
SELECT format('index|%I.%I|valid %s unique %s nullsnd %s repl %s clustered %s', n.nspname, c.relname, i.indisvalid, i.indisunique, i.indnullsnotdistinct, i.indisreplident, i.indisclustered) FROM pg_index i JOIN pg_class c ON c.oid=i.indexrelid JOIN pg_namespace n ON n.oid=c.relnamespace WHERE c.relpersistence<>'t' AND n.nspname NOT IN ('pg_catalog','pg_toast','information_schema','tidemark');
SELECT format('column|%I.%I.%I|len %s align %s storage %s local %s inh %s ident %s gen %s', n.nspname, c.relname, a.attname, a.attlen, a.attalign, a.attstorage, a.attislocal, a.attinhcount, a.attidentity, a.attgenerated) FROM pg_attribute a JOIN pg_class c ON c.oid=a.attrelid JOIN pg_namespace n ON n.oid=c.relnamespace WHERE c.relkind IN ('r','p','v','m') AND c.relpersistence<>'t' AND a.attnum>0 AND NOT a.attisdropped AND n.nspname NOT IN ('pg_catalog','information_schema','tidemark');
SELECT format('constraint|%s.%s|type %s valid %s enforced %s local %s inh %s noinherit %s deferrable %s %s', coalesce(nullif(conrelid,0)::regclass::text, contypid::regtype::text), conname, contype, convalidated, to_jsonb(k) ->> 'conenforced', conislocal, coninhcount, connoinherit, condeferrable, condeferred) FROM pg_constraint k JOIN pg_namespace n ON n.oid=k.connamespace WHERE n.nspname NOT IN ('pg_catalog','information_schema','tidemark') AND n.nspname NOT LIKE 'pg\_temp%';
SELECT format('inherits|%s|%s %s', inhrelid::regclass, inhparent::regclass, inhseqno) FROM pg_inherits;
SELECT format('trigger|%s.%s|enabled %s', tgrelid::regclass, tgname, tgenabled) FROM pg_trigger WHERE NOT tgisinternal;
SELECT format('rls|%s|%s %s', oid::regclass, relrowsecurity, relforcerowsecurity) FROM pg_class WHERE relrowsecurity;
SELECT 'largeobjects||' || count(*) FROM pg_largeobject_metadata;
SELECT format('function|%s|config %s', p.oid::regprocedure, p.proconfig) FROM pg_proc p JOIN pg_namespace n ON n.oid=p.pronamespace WHERE p.prokind <> 'a' AND n.nspname NOT IN ('pg_catalog','information_schema','tidemark') AND n.nspname NOT LIKE 'pg\_temp%';
SELECT format('extended statistics|%I.%I|%s', n.nspname, s.stxname, s.stxstattarget) FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid=s.stxnamespace;
SELECT format('partition|%s|%s', c.oid::regclass, pg_get_expr(c.relpartbound, c.oid)) FROM pg_class c WHERE c.relispartition;
Q
  unset PGOPTIONS
}

restore() { # NAME POINT TARGETDB DIR: leaves out the tables that the refusal names
  local except=() n table
  for n in $(seq 1 10); do
    "$PGBIN/psql" -X -q -d postgres -c "DROP DATABASE IF EXISTS $3" -c "CREATE DATABASE $3 TEMPLATE template0" >/dev/null 2>&1
    tm "$1" restore --at "$2" --into "$(URL "$3")" --json ${except[@]+"${except[@]}"} >"$4.restore.json" 2>"$4.restore.err"; local rc=$?
    # 11: all rows are there, and some objects are told as not made.
    if [ $rc = 0 ] || [ $rc = 11 ]; then say "restore $2: exit $rc after $n tries ($(( ${#except[@]} / 2 )) tables left out)"; return 0; fi
    local line; line=$(tail -1 "$4.restore.json"); echo "$2|try $n|$rc|$line" >>"$WORK/refused"
    say "restore $2 refused ($rc): $(echo "$line" | cut -c1-400)"
    local before=${#except[@]}
    while read -r table; do
      case " ${except[*]-} " in *" $table "*) continue;; esac
      echo "$2|$table" >>"$WORK/left-out"; except+=(--except-table "$table")
    done < <(echo "$line" | grep -o -- '--except-table [^ ,"\\]*' | sed 's/--except-table //')
    [ ${#except[@]} -gt "$before" ] || return 1
  done; return 1
}

# --- stages -----------------------------------------------------------------------------------------------------------
libs
for stage in $STAGES; do case $stage in
control)
  server_start control; suite_db regression; suite_out "$WORK/out-control"; say "control: the suite without Tidemark"
  n=0; suite_file "$WORK/out-control" test_setup
  schedule | while read -r line; do n=$((n+1)); wanted $n "$ONLY" || continue; for t in $line; do [ "$t" = test_setup ] || skipped "$t" || suite_file "$WORK/out-control" "$t"; done; done
  server_stop; rm -rf "$WORK/pg-control"; say "control done";;
stream)
  server_start main; suite_db regression; suite_out "$WORK/out-main"
  suite_file "$WORK/out-main" test_setup
  tm_init stream regression || exit 2
  up_start stream; up_wait stream streaming 120 || { say "up does not stream"; exit 2; }
  say "streaming"; n=0; stuck=0; : >"$WORK/not-durable"; : >"$WORK/up-died"
  while read -r line; do
    n=$((n+1)); wanted $n "$ONLY" || continue; began=$SECONDS
    for t in $line; do [ "$t" = test_setup ] || skipped "$t" || suite_file "$WORK/out-main" "$t"; done
    ran=$((SECONDS-began)); case " $SNAPS " in *" $n "*) # every gap of the group closed before the marker, else its point is refused
      tm stream mark "g$n-pre" --json >/dev/null 2>&1; tries=0
      while [ -n "$(open_gaps)" ]; do tries=$((tries+1)); [ $tries -ge 40 ] && { say "g$n: gaps stay open: $(open_gaps | tr '\n' ' ' | cut -c1-600)"; break; }; sleep 2; done;; esac
    m=$(tm stream mark "g$n" --json 2>&1 | tail -1)
    case "$m" in *'"durable":true'*) stuck=0;; *) stuck=$((stuck+1)); say "g$n is not durable: $(grep '"retry"' "$WORK/up-stream.json" | tail -1 | cut -c1-200)"; echo "g$n" >>"$WORK/not-durable";; esac
    kill -0 $UP_PID 2>/dev/null || { say "up DIED: $(tail -1 "$WORK/up-stream.json")"; echo "group $n" >>"$WORK/up-died"; up_start stream; }
    [ $stuck -ge 4 ] && { say "nothing becomes durable any more: the rest of the suite is left out"; break; }
    say "g$n [$line] ran ${ran}s, mark+durable $((SECONDS-began-ran))s: $(echo "$m" | cut -c1-120)"
    case " $SNAPS " in *" $n "*) snapshot regression "$WORK/src-g$n"; say "g$n dumped";; esac
  done < <(schedule)
  tm stream windows --json >"$WORK/windows.json" 2>&1; tm stream status --json >"$WORK/status.json" 2>&1; tm stream doctor --json >"$WORK/doctor.json" 2>&1
  up_stop; server_stop; say "stream done";;
base)
  wanted base "$POINTS" || continue
  server_start main; rm -rf "$WORK/tm-base" "$WORK"/up-base.*
  "$PGBIN/psql" -X -q -d postgres -c "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 'tm_base'" -c 'DROP DATABASE IF EXISTS base_source' >/dev/null 2>&1
  "$PGBIN/psql" -X -q -d postgres -c "CREATE DATABASE base_source TEMPLATE regression" >/dev/null 2>"$WORK/base-source.err" || { say "no copy of the source: $(cat "$WORK/base-source.err")"; exit 2; }
  "$PGBIN/psql" -X -q -d base_source -c 'DROP SCHEMA IF EXISTS tidemark CASCADE' -c 'DROP PUBLICATION IF EXISTS tm_stream' >"$WORK/base-clean.log" 2>&1
  tm_init base base_source || exit 2
  up_start base; up_wait base streaming 300 && tm base mark base --json >"$WORK/mark-base.json" 2>&1 && sleep 3 && tm base mark behind --json >"$WORK/mark-base.json" 2>&1
  up_stop; snapshot base_source "$WORK/src-base"
  server_stop;;
restore) # into a server of its own, which knows nothing of the source's
  server_start target; : >"$WORK/refused"; : >"$WORK/left-out"
  for point in $POINTS; do
    rm -rf "$WORK/dst-$point"; [ -d "$WORK/src-$point" ] || continue
    if [ "$point" = base ]; then restore base marker:base r_base "$WORK/base"; else restore stream "marker:$point" "r_$point" "$WORK/$point"; fi || continue
    snapshot "r_$point" "$WORK/dst-$point"; "$PGBIN/psql" -X -q -d postgres -c "DROP DATABASE r_$point"
  done; server_stop;;
report) ;;
*) echo "no stage $stage"; exit 2;;
esac; done

# --- compare ----------------------------------------------------------------------------------------------------------
python3 "$HERE/compare.py" "$WORK" "$ALLOW" "$POINTS"
