"""Compares every restore of a run of suite.sh with the source: rows, what pg_dump writes, and what it does not show.

compare.py WORK ALLOWANCE POINTS. All differences go to WORK/differences, what the application saw to WORK/harm.
"""
import collections, difflib, json, os, re, sys

work, allow_file, points = sys.argv[1], sys.argv[2], sys.argv[3].split()
allow = [re.compile(l.strip()) for l in open(allow_file) if l.strip() and not l.startswith('#')]
out = open(work + '/differences', 'w')
kinds = collections.Counter()
totals = collections.Counter()
used = collections.Counter()


def differ(stats, point, kind, name, what, detail=''):
    key = f'{point}|{kind}|{name}|{what}'
    for a in allow:
        if a.search(key):
            stats['allowed'] += 1
            used[a.pattern] += 1
            return
    stats['differences'] += 1
    kinds[kind + ': ' + what.split(':')[0]] += 1
    out.write(key + '\n' + ''.join('    ' + l + '\n' for l in detail.split('\n') if l)[:6000])


HEAD = re.compile(r'^-- (?:Data for )?Name: (.*); Type: (.*); Schema: (.*); Owner: (.*)$')


def blocks(path):
    """pg_dump's entries by (type, schema, name); their texts without comments, several of one name together."""
    found, key = collections.defaultdict(list), None
    for line in open(path, errors='surrogateescape'):
        line = line.rstrip('\n')
        m = HEAD.match(line)
        if m:
            key = (m.group(2), m.group(3), m.group(1))
            found[key].append('-- owner ' + m.group(4))
            continue
        if line.startswith('\\restrict') or line.startswith('\\unrestrict'):
            continue
        if key and line.strip() and not line.startswith('--') and not re.match(r'SET (default_tablespace|default_table_access_method) ', line):
            found[key].append(line)
    return found


def is_ours(k):
    return (k[1] == 'tidemark' or 'tidemark' in k[2].split('.')[0].split(' ') or re.search(r'\btidemark(_ddl|_alter|_alter_start|_before_drop|_drop|_rewrite)?\b', k[2])
            or re.search(r'\btm_(stream|base)\b', k[2]))


def relations(path):
    r = {}
    for l in open(path + '/relations'):
        oid, kind, pers, name = l.rstrip('\n').split('|', 3)
        r[name] = (oid, kind, pers)
    return r


def rows(path, oid):
    f = f'{path}/data/{oid}'
    return sorted(open(f, 'rb').read().split(b'\n')[:-1]) if os.path.exists(f) else None


def compare_rows(stats, point, name, pers, kind, x, y):
    stats['tables compared'] += 1
    stats['rows'] += len(x)
    if x == y:
        stats['tables equal'] += 1
        return
    ca, cb = collections.Counter(x), collections.Counter(y)
    minus, plus = list((ca - cb).elements()), list((cb - ca).elements())
    what = f'rows: {"unlogged, " if pers == "u" else ""}{"matview, " if kind == "m" else ""}{len(x)} at the source, {len(y)} restored, {len(minus)} lost, {len(plus)} other'
    sample = ['- ' + l.decode(errors='replace')[:300] for l in minus[:5]] + ['+ ' + l.decode(errors='replace')[:300] for l in plus[:5]]
    differ(stats, point, 'data', name, what, '\n'.join(sample))


def compare_relations(stats, point, a, b, left_out):
    ra, rb, lost = relations(a), relations(b), set()
    for name, (oid, kind, pers) in sorted(ra.items()):
        if kind in 'rm':
            stats['tables'] += 1
        if name not in rb:
            lost.add(name)
            if name not in left_out:
                differ(stats, point, 'relation', name, f'missing: kind {kind} persistence {pers}')
            continue
        if (kind, pers) != rb[name][1:]:
            differ(stats, point, 'relation', name, f'kind: {kind}{pers} became {rb[name][1]}{rb[name][2]}')
        if kind not in 'rm':
            continue
        x, y = rows(a, oid), rows(b, rb[name][0])
        if x is None and y is None:
            stats['tables unreadable'] += 1
        elif x is None or y is None:
            differ(stats, point, 'data', name, 'readable: on one side only')
        else:
            compare_rows(stats, point, name, pers, kind, x, y)
    for name in sorted(set(rb) - set(ra)):
        differ(stats, point, 'relation', name, f'extra: kind {rb[name][1]}')
    return lost


def is_own_as_well(x, y):
    """Whether a child's CREATE TABLE only spells out columns that the source's leaves to its parents."""
    plain = lambda lines: {l.rstrip(',') for l in lines}
    return any('INHERITS (' in l for l in x) and plain(x) < plain(y)


def given(path):
    """Tables of the source whose replica identity is Tidemark's, with its index: a restore gives back what was before."""
    return [l.rstrip('\n').split('|') for l in open(path + '/given')] if os.path.exists(path + '/given') else []


def without_given(found, tables):
    heads = tuple(f'ALTER TABLE ONLY {t[0]} REPLICA IDENTITY ' for t in tables)
    return {k: [l for l in lines if not l.startswith(heads)] for k, lines in found.items()}


def compare_dumps(stats, point, a, b, left_out):
    sa, sb, gone = without_given(blocks(a + '/schema.sql'), given(a)), without_given(blocks(b + '/schema.sql'), given(a)), set()
    for k in sorted(set(sa) | set(sb)):
        if is_ours(k):
            continue
        x, y = sa.get(k), sb.get(k)
        name = f'{k[1]}.{k[2]}'
        stats['entries'] += 1
        if x == y or (x and y and sorted(x) == sorted(y) and k[0] in ('ACL', 'DEFAULT ACL', 'COMMENT')):
            continue
        stats['entries different'] += 1
        if y is None:
            words = re.findall(r'[\w.$"]+', ' '.join(x))
            of_left_out = any(w in left_out for w in words)
            if of_left_out:
                gone.add(f'{k[1]}.{k[2].split(" ")[-1]}')
            differ(stats, point, 'schema ' + k[0], name, 'missing' + (': its table is left out' if of_left_out else ''), '\n'.join('- ' + l for l in x[:12]))
        elif x is None:
            # A partition's NOT NULL of a name of its own; facts compare its name and state.
            is_own = k[0] == 'CONSTRAINT' and any('NOT NULL' in l and 'NOT VALID' in l for l in y)
            differ(stats, point, 'schema ' + k[0], name, OWN if is_own else 'extra', '\n'.join('+ ' + l for l in y[:12]))
        else:
            changed = [l for l in difflib.unified_diff(x, y, lineterm='', n=0) if not l.startswith(('---', '+++', '@@'))]
            differ(stats, point, 'schema ' + k[0], name, OWN if k[0] == 'TABLE' and is_own_as_well(x, y) else 'changed', '\n'.join(changed))
    return gone


OWN = "its parent's is its own as well"


def facts(path):
    found, partitions = collections.defaultdict(list), set()
    lines = set(open(path + '/facts', errors='replace').read().split('\n'))
    for l in lines:
        if l.startswith('partition|'):
            partitions.add(l.split('|')[1])
    for l in lines:
        kind, name = (l.split('|', 2) + [''])[:2]
        if kind == 'constraint':
            l = without_idle_flags(l, name.rsplit('.', 1)[0] in partitions)
            if ' type f ' in ' ' + l.split('|', 2)[2] and ' local f ' in l:
                # Made by the server for what the parent's foreign key says: of another name than another server gives it.
                kind, name = 'foreign key from the parent', name.rsplit('.', 1)[0]
        found[kind, name].append(l)
    return found


def without_idle_flags(line, is_partition):
    """Flags that no command looks at: NO INHERIT of keys, and `local` of partitions, whose constraints become local by DETACH."""
    if re.search(r'\|type [pux] ', line):
        line = re.sub(r' noinherit [tf]', '', line)
    return re.sub(r' local [tf]', ' local f', line) if is_partition else line


def fact_difference(kind, x, y):
    """What differs, as the allowance may name it."""
    if not y or not x:
        return 'missing' if not y else 'extra'
    if kind == 'foreign key from the parent':
        bare = lambda lines: sorted(l.split('|', 2)[2] for l in lines)
        return 'another name' if bare(x) == bare(y) else 'changed'
    if kind in ('column', 'constraint') and [l.replace(' local f ', ' local t ') for l in x] == y:
        return OWN
    if kind == 'sequence':
        last = lambda lines: int((re.search(r'last (\d+)', lines[0]) or [0, 0])[1])
        return 'behind its rows' if last(y) > last(x) else 'changed'
    return 'changed'


def part_name(kind, relation):
    """schema.name of an index or constraint as pg_dump names it."""
    return re.sub(r'^(.*?)\..*\.', r'\1.', relation) if kind == 'constraint' else relation


def compare_facts(stats, point, a, b, lost, gone):
    oa, ob = facts(a), facts(b)
    for k in {('index', t[1]) for t in given(a) if t[1]}:
        for o in (oa, ob):
            o[k] = [re.sub(r' repl [tf] ', ' repl f ', l) for l in o.get(k, [])]
    for k in sorted(set(oa) | set(ob)):
        relation = k[1]
        if 'tidemark' in relation:
            continue
        x, y = sorted(oa.get(k, [])), sorted(ob.get(k, []))
        stats['facts'] += 1
        if x == y or (not y and any(relation == r or relation.startswith(r + '.') for r in lost)):
            continue
        stats['facts different'] += 1
        if not y and part_name(k[0], relation) in gone:
            differ(stats, point, 'fact ' + k[0], relation, 'missing: its table is left out')
            continue
        detail = ['- ' + '|'.join(l.split('|')[1:]) for l in x] + ['+ ' + '|'.join(l.split('|')[1:]) for l in y]
        differ(stats, point, 'fact ' + k[0], relation, fact_difference(k[0], x, y), '\n'.join(detail))


def told(point):
    """What the restore itself told: objects that it could not make, and notes."""
    path = f'{work}/{point}.restore.json'
    for l in open(path) if os.path.exists(path) else []:
        try:
            event = json.loads(l)
        except ValueError:
            continue
        if 'unmade' in event:
            return event['unmade'], event.get('notes', [])
    return [], []


def gap_reasons():
    """Why a table was read from nowhere, by its name at the end of the gap."""
    found = {}
    path = f'{work}/up-stream.json'
    for l in open(path) if os.path.exists(path) else []:
        try:
            event = json.loads(l)
        except ValueError:
            continue
        if event.get('event') == 'gap' and 'table' in event and not found.get(event['table'], '').startswith('it is left out'):
            found[event['table']] = event['reason']
    return found


def compare(point):
    stats = collections.Counter()
    a, b = f'{work}/src-{point}', f'{work}/dst-{point}'
    if not os.path.isdir(a):
        differ(stats, point, 'restore', point, 'no dump of the source: stage left out, or capture stopped')
        return stats
    if not os.path.isdir(b):
        differ(stats, point, 'restore', point, 'refused')
        return stats
    left_out, reasons = set(), gap_reasons()
    for l in open(work + '/left-out') if os.path.exists(work + '/left-out') else []:
        p, t = l.rstrip('\n').split('|', 1)
        if p.endswith(':' + point):
            left_out.add(t)
            differ(stats, point, 'restore', t, f'left out: {reasons.get(t, "unknown")}')
    lost = compare_relations(stats, point, a, b, left_out)
    gone = compare_dumps(stats, point, a, b, left_out)
    compare_facts(stats, point, a, b, lost, gone)
    unmade, notes = told(point)
    for name in unmade:
        differ(stats, point, 'unmade', name, 'told: not made')
    stats['notes'] = len(notes)
    for p in (a, b):
        if os.path.exists(p + '/pg_dump.failed'):
            differ(stats, point, 'pg_dump', os.path.basename(p), 'failed', open(p + '/pg_dump.failed').read())
    return stats


MESSAGE = re.compile(r'(psql:.*)?(ERROR|FATAL|PANIC|WARNING|NOTICE):')


def errors(path):
    lines = (re.sub(r'/out-(main|control)/', '/out/', re.sub(r'\d{4,}', 'N', l.rstrip('\n'))) for l in open(path, errors='replace') if MESSAGE.match(l))
    return collections.Counter(lines)


def compare_outputs(stats):
    """What the application sees with Tidemark only."""
    harm = open(work + '/harm', 'w')
    if not (os.path.isdir(work + '/out-main') and os.path.isdir(work + '/out-control')):
        return
    for f in sorted(os.listdir(work + '/out-main/results')):
        x, y = work + '/out-control/results/' + f, work + '/out-main/results/' + f
        if not f.endswith('.out') or not os.path.exists(x):
            continue
        e, g = errors(x), errors(y)
        for l, c in (g - e).items():
            differ(stats, 'source', 'harm', f, l, f'{c} times with Tidemark only')
            harm.write(f'{f}: +{c} {l}\n')
        for l, c in (e - g).items():
            harm.write(f'{f}: -{c} {l}\n')
        dx, dy = ([re.sub(r'\d{4,}', 'N', l) for l in open(p, errors='replace')] for p in (x, y))
        stats['outputs'] += 1
        if dx != dy:
            stats['outputs different'] += 1
            harm.write(f'== {f}\n' + ''.join(list(difflib.unified_diff(dx, dy, n=1))[2:60]))


def describe_up():
    seen = collections.Counter()
    for f in ('up-stream.json', 'up-base.json'):
        for l in open(f'{work}/{f}') if os.path.exists(f'{work}/{f}') else []:
            try:
                event = json.loads(l)
            except ValueError:
                seen['not json'] += 1
                continue
            seen[event.get('event')] += 1
            if event.get('event') in ('retry', 'error', 'warning'):
                print('  up:', l.strip()[:300])
    path = f'{work}/up-stream.rss'
    rss = [int(l) for l in open(path) if l.strip()] if os.path.exists(path) else [0]
    print('up said:', dict(seen), 'rss max', max(rss) // 1024, 'MB')


COLUMNS = ['tables', 'tables compared', 'tables equal', 'rows', 'entries', 'entries different', 'facts', 'facts different', 'allowed', 'differences', 'notes']
print(' | '.join(['point', *COLUMNS]))
for point in points:
    stats = compare(point)
    totals.update(stats)
    print(' | '.join([point, *(str(stats[c]) for c in COLUMNS)]))
for f in ('not-durable', 'up-died'):
    for l in open(f'{work}/{f}') if os.path.exists(f'{work}/{f}') else []:
        differ(totals, 'source', f, l.strip(), 'capture')
compare_outputs(totals)
print('differences by kind:')
for k, c in kinds.most_common(80):
    print(f'  {c:5d} {k}')
print('allowance:')
for a in allow:
    print(f'  {used[a.pattern]:5d} {a.pattern}')
describe_up()
ok = totals['differences'] == 0
print(('EQUAL' if ok else 'DIFFERENT') + ': ' + ', '.join(f'{k} {v}' for k, v in sorted(totals.items())))
sys.exit(0 if ok else 1)
