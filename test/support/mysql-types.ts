/** Every type of MariaDB and MySQL with values that are easily lost. */

/** A type and values of it, as SQL. */
export type Case = readonly [type: string, ...values: string[]]

export const BOTH: readonly Case[] = [
  ['tinyint', '-128', '127', '0'],
  ['tinyint unsigned', '255', '0'],
  ['smallint', '-32768', '32767'],
  ['smallint unsigned', '65535'],
  ['mediumint', '-8388608', '8388607'],
  ['mediumint unsigned', '16777215'],
  ['int', '-2147483648', '2147483647'],
  ['int unsigned', '4294967295'],
  ['bigint', '-9223372036854775808', '9223372036854775807', '9007199254740993'],
  ['bigint unsigned', '18446744073709551615', '9007199254740993'],
  ['float', '0.1', '-3.40282e38', '1e-30', '16777216', '0', '1.17549e-38', '123456.7'],
  [
    'double',
    '0.1',
    '1e15',
    '1e14',
    '123456789012345680',
    '1e-14',
    '1e-15',
    '-1.7976931348623157e308',
    '5e-324',
    '0',
    '-0e0',
  ],
  [
    'decimal(65,30)',
    '-12345678901234567890123456789012345.123456789012345678901234567890',
    '0.000000000000000000000000000001',
    '-0.5',
    '0',
  ],
  ['decimal(10,0)', '-1', '9999999999', '0'],
  ['decimal(5,5)', '0.12345', '-0.00001'],
  ['decimal(9,2) unsigned', '1.10'],
  ['decimal(18,9)', '-123456789.987654321', '10'],
  ['date', `'0000-00-00'`, `'2017-00-01'`, `'9999-12-31'`, `'2024-02-29'`],
  ['datetime', `'0000-00-00 00:00:00'`, `'9999-12-31 23:59:59'`, `'2017-00-00 00:00:01'`],
  ['datetime(3)', `'2020-01-02 03:04:05.678'`],
  ['datetime(6)', `'2020-01-02 03:04:05.000001'`],
  ['timestamp null', `'1970-01-01 00:00:01'`, `'2038-01-19 03:14:07'`, `'0000-00-00 00:00:00'`],
  ['timestamp(1) null', `'2020-01-02 03:04:05.1'`],
  ['timestamp(6) null', `'2020-01-02 03:04:05.123456'`],
  ['time', `'-01:00:00'`, `'838:59:59'`, `'-838:59:59'`, `'00:00:00'`],
  ['time(1)', `'-00:00:00.1'`, `'12:34:56.7'`, `'-12:34:56.9'`],
  ['time(3)', `'-00:00:00.001'`, `'-12:34:56.999'`],
  ['time(6)', `'-00:00:00.000001'`, `'12:00:00.999999'`],
  ['year', `'0000'`, '1901', '2155'],
  ['char(5)', `'ab'`, `''`, `'a  '`],
  ['char(255)', `repeat('é', 255)`],
  ['varchar(10)', `'é€😀'`, `' a '`],
  ['varchar(300)', `repeat('é', 300)`],
  ['tinytext', `'t'`],
  ['text', `'body'`, `''`],
  ['longtext', `repeat('a', 70000)`],
  ['binary(4)', `x'00ff0000'`, `x'61'`, `x'00000000'`],
  ['varbinary(300)', `x'00ff80'`, `x'6100'`],
  ['blob', `x'0001fe'`, `''`],
  ['mediumblob', `repeat(x'ff', 300)`],
  [`enum('a,b','c','it''s','é')`, `'a,b'`, '3', `'é'`, `'no label'`],
  [`set('x','y','it''s','é')`, `'x,it''s'`, `''`, '15'],
  ['varchar(10) character set latin1', `_latin1 x'8099e9'`],
  [`enum('é','b') character set latin1`, `'é'`],
  ['varchar(10) character set gbk', `_gbk x'c4e3'`],
  ['char(10) character set utf8mb3', `'é'`],
  ['text character set ucs2', `_ucs2 x'00e9'`],
  ['varchar(9) character set utf16', `_utf16 x'd83dde00'`],
]

export const MARIADB: readonly Case[] = [
  ['json', `'{"a": [1, 2.50], "b": null}'`],
  ['text compressed', `repeat('compress me ', 100)`, `'s'`, `''`],
  ['varchar(500) compressed', `repeat('abc', 100)`],
  ['varbinary(500) compressed', `repeat(x'00ff', 200)`],
]

export const MYSQL: readonly Case[] = [
  [
    'json',
    `'{"a": 1, "b": [1, 2.5, null, true, "x\\\\"y"], "c": {"d": -5, "e": 18446744073709551615}}'`,
    `'[]'`,
    `'{}'`,
    `'"s"'`,
    `'1e100'`,
    `'1.0'`,
    `'70000'`,
    `'-70000'`,
    `'{"ctl": "\\\\u0001\\\\n\\\\t\\\\u001f/é😀"}'`,
    `JSON_OBJECT('d', CAST('1.23' AS DECIMAL(5,2)), 't', CAST('-10:11:12.5' AS TIME(1)), 'dt', CAST('2020-01-02 03:04:05' AS DATETIME), 'da', CAST('2020-01-02' AS DATE), 'bin', CAST(x'00ff' AS BINARY))`,
    `(SELECT JSON_ARRAYAGG(n) FROM (WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 900) SELECT n * 100000 AS n FROM r) s)`,
    `JSON_OBJECT('long', repeat('x', 70000), 'more', JSON_ARRAY(1, 70000, 'y'))`,
  ],
]

/** Types whose value is bytes by themselves: compared as the server's own bytes. */
export const BYTES: readonly Case[] = [
  ['bit(1)', `b'1'`, `b'0'`],
  ['bit(10)', `b'1000000001'`],
  ['bit(64)', `x'8000000000000001'`],
  ['point', `ST_GeomFromText('POINT(1 2)')`],
  ['geometry', `ST_GeomFromText('LINESTRING(1 2,3 4)', 4326)`],
]
/** Kept as bytes in an order of their own; text is the server's. */
export const MARIADB_BYTES: readonly Case[] = [
  ['inet6', `'2001:db8::1'`, `'::'`],
  ['uuid', `'123e4567-e89b-12d3-a456-426614174000'`],
]
