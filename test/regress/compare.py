"""Compares every restore of a run of suite.sh with the source: rows, what pg_dump writes, and what it does not show."""
import sys, os, re, json, difflib, collections
work, regress, allow_file, snaps = sys.argv[1:5]
allow = [re.compile(l.strip()) for l in open(allow_file) if l.strip() and not l.startswith('#')]
out = open(work + '/differences', 'w'); stats = collections.Counter(); kinds = collections.Counter()
def differ(plan, kind, name, what, detail=''):
    key = f'{plan}|{kind}|{name}|{what}'
    if any(a.search(key) for a in allow): stats['allowed'] += 1; return
    stats['differences'] += 1; kinds[kind + ': ' + what.split(':')[0]] += 1
    out.write(key + '\n' + ''.join('    ' + l + '\n' for l in detail.split('\n') if l)[:6000])
head = re.compile(r'^-- (?:Data for )?Name: (.*); Type: (.*); Schema: (.*); Owner: (.*)$')
def blocks(path):
    """pg_dump's entries by (type, schema, name); their texts without comments, several of one name together."""
    found, key = collections.defaultdict(list), None
    for line in open(path, errors='surrogateescape'):
        line = line.rstrip('\n')
        m = head.match(line)
        if m: key = (m.group(2), m.group(3), m.group(1)); found[key].append('-- owner ' + m.group(4)); continue
        if line.startswith('\\restrict') or line.startswith('\\unrestrict'): continue
        if key and line.strip() and not line.startswith('--') and not re.match(r'SET (default_tablespace|default_table_access_method) ', line): found[key].append(line)
    return found
ours = lambda k: k[1] == 'tidemark' or 'tidemark' in k[2].split('.')[0].split(' ') or re.search(r'\btidemark(_ddl|_drop|_rewrite)?\b', k[2]) or re.search(r'\btm_(stream|base)\b', k[2])
def relations(path):
    r = {}
    for l in open(path + '/relations'):
        oid, kind, pers, name = l.rstrip('\n').split('|', 3); r[name] = (oid, kind, pers)
    return r
def rows(path, oid):
    f = f'{path}/data/{oid}'
    if not os.path.exists(f): return None
    return sorted(open(f, 'rb').read().split(b'\n')[:-1])
def compare(plan):
    a, b = f'{work}/src-{plan}', f'{work}/dst-{plan}'
    if not os.path.isdir(a): differ(plan, 'restore', plan, 'no dump of the source: stage left out, or capture stopped'); return
    if not os.path.isdir(b): differ(plan, 'restore', plan, 'refused'); return
    left_out = set()
    if os.path.exists(work + '/left-out'):
        for l in open(work + '/left-out'):
            p, t = l.rstrip('\n').split('|', 1)
            if p.endswith(':' + plan) or (plan == 'base' and p == 'latest'): left_out.add(t); differ(plan, 'restore', t, 'left out: restore refused it')
    ra, rb = relations(a), relations(b); lost = set()
    for name, (oid, kind, pers) in sorted(ra.items()):
        if name not in rb:
            lost.add(name)
            if name not in left_out: differ(plan, 'relation', name, f'missing: kind {kind} persistence {pers}')
            continue
        if (kind, pers) != rb[name][1:]: differ(plan, 'relation', name, f'kind: {kind}{pers} became {rb[name][1]}{rb[name][2]}')
        if kind in 'rm':
            x, y = rows(a, oid), rows(b, rb[name][0])
            if x is None and y is None: stats['unreadable'] += 1; continue
            if x is None or y is None: differ(plan, 'data', name, 'readable: on one side only'); continue
            stats['tables'] += 1; stats['rows'] += len(x)
            if x == y: stats['equal'] += 1
            else:
                stats['unequal'] += 1
                ca, cb = collections.Counter(x), collections.Counter(y)
                minus, plus = list((ca - cb).elements()), list((cb - ca).elements())
                differ(plan, 'data', name, f'rows: {"unlogged, " if pers == "u" else ""}{"matview, " if kind == "m" else ""}{len(x)} at the source, {len(y)} restored, {len(minus)} lost, {len(plus)} other',
                       '\n'.join(['- ' + l.decode(errors='replace')[:300] for l in minus[:5]] + ['+ ' + l.decode(errors='replace')[:300] for l in plus[:5]]))
    for name in sorted(set(rb) - set(ra)): differ(plan, 'relation', name, f'extra: kind {rb[name][1]}')
    sa, sb = blocks(a + '/schema.sql'), blocks(b + '/schema.sql')
    for k in sorted(set(sa) | set(sb)):
        if ours(k): continue
        x, y = sa.get(k), sb.get(k); name = f'{k[1]}.{k[2]}'
        if x == y: stats['schema objects'] += 1; continue
        if x and y and sorted(x) == sorted(y) and k[0] in ('ACL', 'DEFAULT ACL', 'COMMENT'): stats['schema objects'] += 1; continue
        stats['schema different'] += 1
        if y is None: differ(plan, 'schema ' + k[0], name, 'missing', '\n'.join('- ' + l for l in x[:12]))
        elif x is None: differ(plan, 'schema ' + k[0], name, 'extra', '\n'.join('+ ' + l for l in y[:12]))
        else: differ(plan, 'schema ' + k[0], name, 'changed', '\n'.join(l for l in difflib.unified_diff(x, y, lineterm='', n=0) if not l.startswith(('---', '+++', '@@'))))
    fa, fb = set(open(a + '/facts', errors='replace').read().split('\n')), set(open(b + '/facts', errors='replace').read().split('\n'))
    key = lambda l: tuple(l.split('|', 2)[:2])
    oa, ob = collections.defaultdict(list), collections.defaultdict(list)
    for l in fa: oa[key(l)].append(l)
    for l in fb: ob[key(l)].append(l)
    for k in sorted(set(oa) | set(ob)):
        if 'tidemark' in (k + ('',))[1]: continue
        x, y = sorted(oa.get(k, [])), sorted(ob.get(k, []))
        if x == y: stats['facts'] += 1; continue
        relation = (k + ('',))[1]
        if not y and any(relation == r or relation.startswith(r + '.') for r in lost): continue
        differ(plan, 'fact ' + k[0], relation, 'missing' if not y else 'extra' if not x else 'changed', '\n'.join(['- ' + '|'.join(l.split('|')[2:]) for l in x] + ['+ ' + '|'.join(l.split('|')[2:]) for l in y]))
    if os.path.exists(a + '/pg_dump.failed') or os.path.exists(b + '/pg_dump.failed'): differ(plan, 'pg_dump', plan, 'failed', ''.join(open(p + '/pg_dump.failed').read() for p in (a, b) if os.path.exists(p + '/pg_dump.failed')))
for n in snaps.split(): compare('g' + n)
compare('base')
for f in ('not-durable', 'up-died'):
    if os.path.exists(f'{work}/{f}'):
        for l in open(f'{work}/{f}'): differ('source', f, l.strip(), 'capture')
# Harm: errors that the application sees with Tidemark only.
def errors(path):
    return collections.Counter(re.sub(r'/out-(main|control)/', '/out/', re.sub(r'\d{4,}', 'N', l.rstrip('\n'))) for l in open(path, errors='replace') if re.match(r'(psql:.*)?(ERROR|FATAL|PANIC|WARNING|NOTICE):', l))
harm = open(work + '/harm', 'w')
if os.path.isdir(work + '/out-main') and os.path.isdir(work + '/out-control'):
    for f in sorted(os.listdir(work + '/out-main/results')):
        if not f.endswith('.out'): continue
        x, y = work + '/out-control/results/' + f, work + '/out-main/results/' + f
        if not os.path.exists(x): continue
        e, g = errors(x), errors(y)
        for l, c in (g - e).items(): stats['harm'] += 1; differ('source', 'harm', f, l, f'{c} times with Tidemark only'); harm.write(f'{f}: +{c} {l}\n')
        for l, c in (e - g).items(): harm.write(f'{f}: -{c} {l}\n')
        dx = [re.sub(r'\d{4,}', 'N', l) for l in open(x, errors='replace')]; dy = [re.sub(r'\d{4,}', 'N', l) for l in open(y, errors='replace')]
        if dx != dy: stats['outputs different'] += 1; harm.write(f'== {f}\n' + ''.join(list(difflib.unified_diff(dx, dy, n=1))[2:60]))
        else: stats['outputs same'] += 1
ev = collections.Counter()
for f in ('up-stream.json', 'up-base.json'):
    if os.path.exists(f'{work}/{f}'):
        for l in open(f'{work}/{f}'):
            try: ev[json.loads(l).get('event')] += 1
            except ValueError: ev['not json'] += 1
rss = max([int(l) for f in ('up-stream.rss',) if os.path.exists(f'{work}/{f}') for l in open(f'{work}/{f}') if l.strip()] or [0])
print('differences by kind:'); [print(f'  {c:5d} {k}') for k, c in kinds.most_common(60)]
print('up said:', dict(ev), 'rss max', rss // 1024, 'MB')
ok = stats['differences'] == 0
print(('EQUAL' if ok else 'DIFFERENT') + ': ' + ', '.join(f'{k} {v}' for k, v in sorted(stats.items())))
sys.exit(0 if ok else 1)
