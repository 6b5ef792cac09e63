/**
 * What has no rows in the log, on MariaDB and MySQL: schema changes, cascades, statements as text, partial images, XA. Behind each
 * the database is restored at that very place, and the server says the same of both.
 */
import { describe, expect, test } from 'vitest'
import { connect } from '../../services/engines/mysql/session/connect.ts'
import { MysqlBackup } from '../support/mysql-backup.ts'
import { type Said, said } from '../support/mysql-oracle.ts'
import { type Flavour, whyNoMysql } from '../support/parts/mysql.ts'

const SETUP = [
  'CREATE TABLE a (id int PRIMARY KEY, v varchar(20))',
  `INSERT INTO a VALUES (1, 'one'), (2, 'two'), (3, 'three')`,
  'CREATE TABLE parent (id int PRIMARY KEY, other int, UNIQUE KEY (other))',
  'CREATE TABLE child (id int PRIMARY KEY, p int, CONSTRAINT c FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE ON UPDATE CASCADE)',
  'CREATE TABLE grandchild (id int PRIMARY KEY, c int, CONSTRAINT g FOREIGN KEY (c) REFERENCES child (id) ON DELETE SET NULL)',
  'INSERT INTO parent VALUES (1, 10), (2, 20), (3, 30)',
  'INSERT INTO child VALUES (1, 1), (2, 1), (3, 2), (4, 3)',
  'INSERT INTO grandchild VALUES (1, 1), (2, 3), (3, 4)',
]

/** Each with what it is called; in this order. */
const STEPS: readonly (readonly [string, ...string[]])[] = [
  ['a new table', 'CREATE TABLE b (id int PRIMARY KEY, v text)', `INSERT INTO b VALUES (1, 'x')`],
  [
    'a column with a default',
    `ALTER TABLE a ADD COLUMN c varchar(10) NOT NULL DEFAULT 'd'`,
    `INSERT INTO a (id, v) VALUES (4, 'four')`,
  ],
  [
    'another type',
    'ALTER TABLE a MODIFY v varchar(40) CHARACTER SET latin1, DROP COLUMN c',
    `UPDATE a SET v = 'é' WHERE id = 1`,
  ],
  [
    'swapped names of columns',
    'ALTER TABLE b ADD w text',
    `INSERT INTO b VALUES (2, 'v', 'w')`,
    'ALTER TABLE b CHANGE v w text, CHANGE w v text',
    `INSERT INTO b (id, v, w) VALUES (3, 'v', 'w')`,
  ],
  [
    'rows and TRUNCATE',
    `INSERT INTO b (id) VALUES (9)`,
    'TRUNCATE TABLE b',
    `INSERT INTO b (id, v) VALUES (5, 'after')`,
  ],
  ['an index', 'CREATE INDEX by_v ON a (v)', `INSERT INTO a VALUES (5, 'five')`],
  [
    'a cut-over by renaming',
    'CREATE TABLE _a_new LIKE a',
    'ALTER TABLE _a_new ADD extra int DEFAULT 7',
    'INSERT INTO _a_new (id, v) SELECT id, v FROM a',
    'RENAME TABLE a TO _a_old, _a_new TO a',
    `INSERT INTO a (id, v) VALUES (6, 'six')`,
    'DROP TABLE _a_old',
  ],
  [
    'a table that takes over a name',
    'DROP TABLE b',
    'CREATE TABLE b (other int PRIMARY KEY)',
    'INSERT INTO b VALUES (1)',
  ],
  ['cascades of DELETE', 'DELETE FROM parent WHERE id = 1'],
  [
    'cascades of UPDATE',
    'UPDATE parent SET id = 200 WHERE id = 2',
    'UPDATE parent SET other = 31 WHERE id = 3',
  ],
  [
    'a parent in another database',
    'CREATE DATABASE elsewhere',
    'CREATE TABLE elsewhere.top (id int PRIMARY KEY)',
    'CREATE TABLE elsewhere.par (id int PRIMARY KEY, t int, FOREIGN KEY (t) REFERENCES elsewhere.top (id) ON DELETE CASCADE)',
    'INSERT INTO elsewhere.top VALUES (1), (2)',
    'INSERT INTO elsewhere.par VALUES (1, 1), (2, 2), (3, NULL)',
    'CREATE TABLE afar (id int PRIMARY KEY, p int, FOREIGN KEY (p) REFERENCES elsewhere.par (id) ON DELETE CASCADE)',
    'INSERT INTO afar VALUES (1, 1), (2, 2), (3, 3)',
  ],
  ['cascades from there', 'DELETE FROM elsewhere.par WHERE id = 3'],
  ['cascades through there', 'DELETE FROM elsewhere.top WHERE id = 2'],
  [
    'partial images',
    "SET SESSION binlog_row_image = 'MINIMAL'",
    `UPDATE a SET v = 'partial' WHERE id = 2`,
    "SET SESSION binlog_row_image = 'FULL'",
  ],
  [
    'statements as text',
    "SET SESSION binlog_format = 'STATEMENT'",
    `UPDATE a SET v = CONCAT(v, '!')`,
    "SET SESSION binlog_format = 'ROW'",
    `INSERT INTO a (id, v) VALUES (7, 'seven')`,
  ],
  [
    'an XA transaction',
    "XA START 'x'",
    `INSERT INTO a (id, v) VALUES (8, 'xa')`,
    "XA END 'x'",
    "XA PREPARE 'x'",
    "XA COMMIT 'x'",
  ],
  [
    'cascades of an XA transaction',
    "XA START 'z'",
    'DELETE FROM parent WHERE id = 3',
    "XA END 'z'",
    "XA PREPARE 'z'",
    "XA COMMIT 'z'",
  ],
  [
    'one that is taken back',
    "XA START 'y'",
    `INSERT INTO a (id, v) VALUES (9, 'xa')`,
    "XA END 'y'",
    "XA PREPARE 'y'",
    "XA ROLLBACK 'y'",
    `INSERT INTO b VALUES (2)`,
  ],
  ['CREATE TABLE … SELECT', 'CREATE TABLE made (PRIMARY KEY (id)) SELECT id, v FROM a'],
]

describe.each<Flavour>(['mariadb', 'mysql'])('%s', (flavour) => {
  const why = whyNoMysql(flavour)
  if (why !== undefined) console.log(`${flavour} is not tested here: ${why}`)

  test.skipIf(why !== undefined)(
    'what the log has no rows of is restored all the same',
    { timeout: 600_000 },
    async () => {
      await using backup = await MysqlBackup.prepare(flavour, SETUP)
      await backup.init()
      await backup.up()
      const points: { readonly what: string; readonly at: string; readonly expected: Said }[] = []
      for (const [what, ...statements] of STEPS) {
        await backup.run(...statements)
        points.push({ what, at: await backup.caughtUp(), expected: await said(backup.source) })
      }
      for (const { what, at, expected } of points) {
        const { into, report } = await backup.restore(at)
        expect(report, what).toMatchObject({ unmade: [] })
        expect(await said(into), `${what} at ${at}`).toEqual(expected)
      }
    },
  )

  test.skipIf(why !== undefined)(
    'views, routines, triggers and counters are those of the point',
    { timeout: 600_000 },
    async () => {
      await using backup = await MysqlBackup.prepare(flavour, [
        'CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, v int)',
        'CREATE VIEW w AS SELECT id FROM t',
      ])
      await backup.init()
      await backup.up()
      await backup.run(
        'CREATE OR REPLACE VIEW w AS SELECT id, v FROM t',
        'CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.v = 5',
        'CREATE PROCEDURE p() SELECT 1',
        'INSERT INTO t (v) VALUES (1), (2), (3)',
        'DELETE FROM t WHERE id > 1',
      )
      const at = await backup.caughtUp()
      await backup.run('DROP TRIGGER tr', 'DROP PROCEDURE p', 'DROP VIEW w')
      await backup.caughtUp()
      const { into, report } = await backup.restore(at)
      expect(report).toMatchObject({ unmade: [] })
      const { connection } = await connect(into)
      await connection.query('INSERT INTO t (v) VALUES (1)')
      expect((await connection.query('SELECT id, v FROM w ORDER BY id'))[0]).toEqual([
        { id: 1, v: 5 },
        { id: 4, v: 5 },
      ])
      await connection.query('CALL p()')
      await connection.end()
    },
  )
})
