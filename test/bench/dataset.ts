/** The data of all figures: a chat database of 3 million rows and one million changes behind it; deterministic. */
import type pg from 'pg'
import { WireSession } from '../../services/engines/postgres/session/wire-session.ts'
import { random } from '../../services/demo/chat-traffic.ts'

export interface Size {
  readonly messages: number
  readonly changes: number
  /** Rows of the one big transaction in the middle of the changes. */
  readonly big: number
}

const USERS = 50_000
const CONVERSATIONS = 20_000
const START = Date.UTC(2025, 0, 1)

const SCHEMA = `
CREATE TABLE users (id bigint PRIMARY KEY, handle text NOT NULL, display_name text NOT NULL, created_at timestamptz NOT NULL);
CREATE TABLE conversations (id bigint PRIMARY KEY, kind smallint NOT NULL, title text, created_at timestamptz NOT NULL);
CREATE TABLE members (conversation_id bigint, user_id bigint, role smallint NOT NULL, joined_at timestamptz NOT NULL, PRIMARY KEY (conversation_id, user_id));
CREATE TABLE messages (id bigint PRIMARY KEY, conversation_id bigint NOT NULL, sender_id bigint NOT NULL, sent_at timestamptz NOT NULL, kind smallint NOT NULL, body text, attrs jsonb, edited_at timestamptz);
CREATE INDEX messages_conv ON messages (conversation_id, id);
CREATE TABLE receipts (message_id bigint, user_id bigint, read_at timestamptz NOT NULL, PRIMARY KEY (message_id, user_id));`

/** Outside of the publication and of the WAL: unlogged, in a schema of its own. */
const STAGE = `
CREATE SCHEMA stage;
CREATE UNLOGGED TABLE stage.ops (seq bigint PRIMARY KEY, txn int NOT NULL, op "char" NOT NULL, id bigint, a bigint, b bigint, t timestamptz, kind smallint, body text, attrs jsonb);
CREATE PROCEDURE stage.apply() LANGUAGE plpgsql AS $$
DECLARE r record; cur int;
BEGIN
  FOR r IN SELECT * FROM stage.ops ORDER BY seq LOOP
    IF cur IS DISTINCT FROM r.txn THEN IF cur IS NOT NULL THEN COMMIT; END IF; cur := r.txn; END IF;
    CASE r.op
      WHEN 'm' THEN INSERT INTO public.messages VALUES (r.id, r.a, r.b, r.t, r.kind, r.body, r.attrs, NULL);
      WHEN 'r' THEN INSERT INTO public.receipts VALUES (r.id, r.a, r.t) ON CONFLICT (message_id, user_id) DO UPDATE SET read_at = excluded.read_at;
      WHEN 'e' THEN UPDATE public.messages SET body = r.body, edited_at = r.t WHERE id = r.id;
      WHEN 'd' THEN DELETE FROM public.messages WHERE id = r.id;
    END CASE;
  END LOOP;
  COMMIT;
END $$;`

class Generator {
  readonly next = random(0x12345678)
  readonly #words: string[] = []
  readonly #cjk: string[] = []
  readonly #emoji = [...'😀😂🤣😊😍😘🤔😭😡👍👎🙏🎉🔥❤💯🚀🐱🐶🍜☕🌧🌈⚽🎂']
  readonly #members: number[][] = []

  constructor() {
    const skew = (n: number): number => Math.floor(n * this.next() * this.next())
    for (let i = 0; i < 4000; i++)
      this.#words.push(
        Array.from({ length: 2 + this.int(8) }, () => String.fromCharCode(97 + skew(26))).join(''),
      )
    for (let i = 0; i < 4000; i++)
      this.#cjk.push(
        Array.from({ length: 1 + this.int(4) }, () => String.fromCodePoint(0x4e00 + skew(3500) * 5)).join(''),
      )
    for (let i = 0; i < CONVERSATIONS; i++) {
      const set = new Set<number>()
      for (let k = 2 + this.int(16); set.size < k; ) set.add(1 + this.int(USERS))
      this.#members.push([...set])
    }
  }

  int(limit: number): number {
    return Math.floor(this.next() * limit)
  }

  #skewed(list: readonly string[]): string {
    return list[Math.floor(list.length * this.next() * this.next())]!
  }

  body(): string {
    const chinese = this.next() < 0.45
    const count = 2 + Math.floor(-Math.log(1 - this.next()) * 15)
    let out = ''
    for (let i = 0; i < count && out.length < 900; i++) {
      const x = this.next()
      const word =
        x < 0.9
          ? this.#skewed(chinese ? this.#cjk : this.#words)
          : x < 0.96
            ? this.#skewed(this.#emoji)
            : String(this.int(1e6))
      out += chinese || i === 0 ? word : ` ${word}`
    }
    return out
  }

  #attributes(id: number): string {
    const x = this.next()
    if (x > 0.2) return '\\N'
    if (x < 0.08) return `{"reply_to": ${1 + this.int(id)}}`
    if (x < 0.14) return `{"mentions": [${1 + this.int(USERS)}, ${1 + this.int(USERS)}]}`
    return `{"file": {"name": "${this.#skewed(this.#words)}.jpg", "size": ${this.int(5e6)}, "sha256": "${Array.from({ length: 8 }, () => this.int(0xffffffff).toString(16).padStart(8, '0')).join('')}"}}`
  }

  message(id: number): string[] {
    const conversation = 1 + Math.floor(CONVERSATIONS * this.next() * this.next())
    const members = this.#members[conversation - 1]!
    return [
      String(id),
      String(conversation),
      String(members[this.int(members.length)]),
      instant(START + id * 4000 + this.int(4000)),
      String(this.next() < 0.9 ? 0 : 1 + this.int(5)),
      this.body(),
      this.#attributes(id),
    ]
  }

  *users(): Generator_ {
    for (let i = 1; i <= USERS; i++)
      yield `${i}\tu_${i}_${this.int(0xffffff).toString(16)}\t${this.#skewed(this.next() < 0.5 ? this.#cjk : this.#words)}\t${instant(START - this.int(1e9) * 30)}\n`
  }
  *conversations(): Generator_ {
    for (let i = 1; i <= CONVERSATIONS; i++)
      yield `${i}\t${this.int(3)}\t${this.next() < 0.5 ? '\\N' : this.#skewed(this.#cjk)}\t${instant(START - this.int(1e9) * 10)}\n`
  }
  *members(): Generator_ {
    for (const [i, members] of this.#members.entries())
      for (const user of members)
        yield `${i + 1}\t${user}\t${this.int(3)}\t${instant(START - this.int(1e9))}\n`
  }
  *messages(count: number): Generator_ {
    for (let i = 1; i <= count; i++) yield `${this.message(i).join('\t')}\t\\N\n`
  }
  *receipts(messages: number): Generator_ {
    for (let i = 1; i <= messages; i++) {
      const user = 1 + this.int(USERS - 1)
      yield `${i}\t${user}\t${instant(START + i * 4000)}\n${i}\t${user + 1}\t${instant(START + i * 4000 + this.int(3e6))}\n`
    }
  }
  /** 70 % new messages, 20 % receipts, 7 % edits, 3 % deletes, in transactions of 1 to 50 rows, one of them big. */
  *changes(size: Size): Generator_ {
    let sequence = 0
    let transaction = 0
    let newest = size.messages + 1
    let bigDone = false
    const dead = new Set<number>()
    const alive = (): number => {
      for (;;) {
        const id = this.next() < 0.8 ? newest - 1 - this.int(20_000) : 1 + this.int(newest - 1)
        if (id > 0 && !dead.has(id)) return id
      }
    }
    const row = (kind: number): string => {
      const at = instant(START + newest * 4000 + this.int(4000))
      const head = `${++sequence}\t${transaction}\t`
      if (kind < 0.7) {
        const [id, conversation, sender, sent, type, body, attributes] = this.message(newest++)
        return `${head}m\t${id}\t${conversation}\t${sender}\t${sent}\t${type}\t${body}\t${attributes}\n`
      }
      if (kind < 0.9) return `${head}r\t${alive()}\t${1 + this.int(USERS)}\t\\N\t${at}\t\\N\t\\N\t\\N\n`
      if (kind < 0.97) return `${head}e\t${alive()}\t\\N\t\\N\t${at}\t\\N\t${this.body()}\t\\N\n`
      const id = alive()
      dead.add(id)
      return `${head}d\t${id}\t\\N\t\\N\t${at}\t\\N\t\\N\t\\N\n`
    }
    while (sequence < size.changes) {
      transaction++
      const isBig: boolean = !bigDone && size.big > 0 && sequence >= (size.changes - size.big) / 2
      const rows = isBig ? size.big : 1 + this.int(50)
      bigDone ||= isBig
      for (let i = 0; i < rows && sequence < size.changes; i++) yield row(isBig ? 0 : this.next())
    }
  }
}

type Generator_ = globalThis.Generator<string>

function instant(ms: number): string {
  return new Date(ms).toISOString().replace('T', ' ').replace('Z', '+00')
}

async function* chunks(rows: Generator_): AsyncIterable<Buffer> {
  let held: string[] = []
  for (const row of rows) {
    held.push(row)
    if (held.length >= 2000) {
      yield Buffer.from(held.join(''))
      held = []
    }
  }
  if (held.length > 0) yield Buffer.from(held.join(''))
}

/** Loads base and staged changes; the changes are applied by `applyChanges`. */
export async function load(url: string, client: pg.Client, size: Size): Promise<void> {
  await client.query(SCHEMA)
  await client.query(STAGE)
  const generator = new Generator()
  const session = await WireSession.open({ url, applicationName: 'bench', role: 'target' })
  try {
    const copy = (table: string, rows: Generator_): Promise<number> =>
      session.copyIn(`COPY ${table} FROM STDIN`, chunks(rows))
    await copy('public.users', generator.users())
    await copy('public.conversations', generator.conversations())
    await copy('public.members', generator.members())
    await copy(
      'public.messages (id, conversation_id, sender_id, sent_at, kind, body, attrs, edited_at)',
      generator.messages(size.messages),
    )
    await copy('public.receipts', generator.receipts(size.messages))
    await copy('stage.ops', generator.changes(size))
    await client.query('VACUUM ANALYZE')
  } finally {
    session.close()
  }
}

/** Applies the staged changes; returns the WAL that they made, in bytes. */
export async function applyChanges(client: pg.Client): Promise<number> {
  const lsn = async (): Promise<string> =>
    (await client.query<{ l: string }>('SELECT pg_current_wal_lsn()::text AS l')).rows[0]!.l
  // As in any running system, a checkpoint lies before the changes: its full-page images are part of their WAL.
  await client.query('CHECKPOINT')
  const from = await lsn()
  await client.query('CALL stage.apply()')
  return Number(
    (await client.query<{ n: string }>('SELECT pg_wal_lsn_diff($1, $2)::text AS n', [await lsn(), from]))
      .rows[0]!.n,
  )
}

/** Messages as the server prints them: id, conversation, sender, time, kind, body. */
export function messageRows(count: number): string[][] {
  const generator = new Generator()
  return Array.from({ length: count }, (_, i) => generator.message(5_000_000 + i).slice(0, 6))
}
