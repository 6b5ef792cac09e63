/** Seeded chat traffic: several connections, real transactions, text in several scripts with emoji, some bodies of 100 kB. */
import type pg from 'pg'

const WORDS = [
  [
    'hello',
    'team',
    'ship',
    'it',
    'today',
    'coffee',
    'restore',
    'backup',
    'why',
    'not',
    'meeting',
    'at',
    'noon',
    'great',
    'thanks',
  ],
  ['你好', '今天', '会议', '备份', '恢复', '数据库', '谢谢', '好的', '消息', '群聊'],
  ['привет', 'сегодня', 'восстановить', 'сообщение', 'спасибо', 'да', 'нет'],
  ['こんにちは', '今日', '会議', 'ありがとう', 'メッセージ', 'はい'],
  ['مرحبا', 'اليوم', 'شكرا', 'رسالة', 'نعم'],
]
const EMOJI = ['😀', '👍', '🎉', '❤️', '🙏', '🚀', '👩‍👩‍👧', '🌊']

/** mulberry32: small, seeded, good enough to choose words. */
export function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

function body(next: () => number): string {
  const words = WORDS[Math.floor(next() * WORDS.length)]!
  const count = 2 + Math.floor(-Math.log(1 - next()) * 10)
  const out: string[] = []
  for (let i = 0; i < count; i++)
    out.push(
      next() < 0.08 ? EMOJI[Math.floor(next() * EMOJI.length)]! : words[Math.floor(next() * words.length)]!,
    )
  const text = out.join(' ')
  // Now and then somebody pastes a whole log; unlike text, so that it is TOASTed and not merely compressed away.
  return next() < 0.002
    ? Array.from({ length: 12_500 }, () =>
        Math.floor(next() * 0xffffffff)
          .toString(16)
          .padStart(8, '0'),
      ).join('')
    : text
}

const RACES = new Set(['23503', '23505', '40P01', '40001'])

export interface TrafficCounts {
  transactions: number
  rows: number
}

/** One connection's work until the signal: inserts, edits, deletes, replies, attachments, reactions, receipts. */
export async function chat(
  client: pg.Client,
  seed: number,
  users: number,
  conversations: number,
  counts: TrafficCounts,
  signal: AbortSignal,
): Promise<void> {
  const next = random(seed)
  const id = (limit: number): number => 1 + Math.floor(next() * limit)
  while (!signal.aborted) {
    await client.query('BEGIN')
    const operations = 1 + Math.floor(next() * 6)
    try {
      for (let i = 0; i < operations; i++) counts.rows += await one(client, next, id, users, conversations)
      await client.query(next() < 0.03 ? 'ROLLBACK' : 'COMMIT')
      counts.transactions++
    } catch (error) {
      // What chat servers meet too: the message was deleted meanwhile (23503), or two transactions waited for each other.
      if (!RACES.has((error as { code?: string }).code ?? '')) throw error
      await client.query('ROLLBACK')
    }
  }
}

async function one(
  client: pg.Client,
  next: () => number,
  id: (limit: number) => number,
  users: number,
  conversations: number,
): Promise<number> {
  const pick = next()
  const run = async (sql: string, values: unknown[]): Promise<number> =>
    (await client.query(sql, values)).rowCount ?? 0
  const recent = `(SELECT id FROM messages ORDER BY id DESC OFFSET ${Math.floor(next() * 50)} LIMIT 1)`
  if (pick < 0.5)
    return run(
      'INSERT INTO messages (conversation_id, sender_id, body, attributes) VALUES ($1, $2, $3, $4)',
      [
        id(conversations),
        id(users),
        body(next),
        next() < 0.2 ? { mentions: [id(users)], client: 'web' } : null,
      ],
    )
  if (pick < 0.58)
    return run(
      `INSERT INTO messages (conversation_id, sender_id, reply_to, body) SELECT conversation_id, $1, id, $2 FROM messages WHERE id = ${recent}`,
      [id(users), body(next)],
    )
  if (pick < 0.68)
    return run(`UPDATE messages SET body = $1, edited_at = now() WHERE id = ${recent}`, [body(next)])
  if (pick < 0.72) return run(`UPDATE messages SET deleted = true WHERE id = ${recent}`, [])
  if (pick < 0.74) return run(`DELETE FROM messages WHERE id = ${recent}`, [])
  if (pick < 0.8)
    return run(
      `INSERT INTO attachments (message_id, name, size, digest) SELECT id, $1, $2, sha256($3) FROM messages WHERE id = ${recent}`,
      [`photo-${id(9999)}.jpg`, id(5_000_000), Buffer.from(String(next()))],
    )
  if (pick < 0.88)
    return run(
      `INSERT INTO reactions SELECT id, $1, $2 FROM messages WHERE id = ${recent} ON CONFLICT DO NOTHING`,
      [id(users), EMOJI[id(EMOJI.length) - 1]],
    )
  if (pick < 0.98)
    return run(
      `INSERT INTO receipts SELECT id, $1 FROM messages WHERE id = ${recent} ON CONFLICT (message_id, user_id) DO UPDATE SET read_at = now()`,
      [id(users)],
    )
  return run('INSERT INTO audit_events (what, who) VALUES ($1, $2)', ['login', id(users)])
}

export const SEED_SQL = (users: number, conversations: number, messages: number): string => `
INSERT INTO users (handle, display_name) SELECT 'user_' || i, CASE i % 4 WHEN 0 THEN '用户' || i WHEN 1 THEN 'Пользователь ' || i WHEN 2 THEN 'User ' || i ELSE 'مستخدم ' || i END FROM generate_series(1, ${users}) i;
INSERT INTO conversations (kind, title) SELECT i % 3, CASE WHEN i % 2 = 0 THEN '群聊 ' || i END FROM generate_series(1, ${conversations}) i;
INSERT INTO members SELECT c, 1 + (c * 7 + k * 13) % ${users}, CASE k WHEN 0 THEN 'owner' ELSE 'member' END::member_role FROM generate_series(1, ${conversations}) c, generate_series(0, 4) k ON CONFLICT DO NOTHING;
INSERT INTO messages (conversation_id, sender_id, sent_at, body, attributes)
  SELECT 1 + (i * 31) % ${conversations}, 1 + (i * 17) % ${users}, now() - (${messages} - i) * interval '1 second',
         CASE i % 5 WHEN 0 THEN '今天的会议改到下午三点 👍 ' WHEN 1 THEN 'Резервная копия готова ' WHEN 2 THEN 'see you at noon 🎉 ' WHEN 3 THEN 'メッセージを復元しました ' ELSE 'شكرا جزيلا ' END || md5(i::text) ||
         CASE WHEN i % 2000 = 0 THEN (SELECT string_agg(md5((i * 10000 + k)::text), '') FROM generate_series(1, 3125) k) ELSE '' END,
         CASE WHEN i % 6 = 0 THEN jsonb_build_object('client', 'ios', 'big', 12345678901234567890.5) END
    FROM generate_series(1, ${messages}) i;
INSERT INTO receipts SELECT i, 1 + (i * 17 + k) % ${users}, now() FROM generate_series(1, ${messages}) i, generate_series(1, 2) k;
INSERT INTO reactions SELECT i * 10, 1 + i % ${users}, '👍' FROM generate_series(1, ${messages} / 10) i;
INSERT INTO attachments (message_id, name, size, digest) SELECT i * 20, 'file ' || i, i * 1000, sha256(i::text::bytea) FROM generate_series(1, ${messages} / 20) i;
INSERT INTO audit_events SELECT now(), 'login', i % 7 FROM generate_series(1, 500) i;
ANALYZE;`
