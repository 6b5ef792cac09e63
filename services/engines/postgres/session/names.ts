/** Names of what we put into a source. */

/** Owned by the installing administrator; `uninstall` removes it whole. */
export const OUR_SCHEMA = 'tidemark'
export const DDL_TABLE = 'ddl'
export const MARKER_TABLE = 'marker'
/** tidemark_alter is of older versions; tidemark_alter_start of PostgreSQL 18. */
export const EVENT_TRIGGERS = [
  'tidemark_alter',
  'tidemark_alter_start',
  'tidemark_before_drop',
  'tidemark_ddl',
  'tidemark_drop',
  'tidemark_rewrite',
] as const

/** Never matches a usual synchronous_standby_names pattern; the preflight checks that it does not (hazard 17). */
export const APPLICATION_NAME = 'tidemark_backup'
