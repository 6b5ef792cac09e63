/** The package has no types of its own. */
declare module 'pgpass' {
  /** @param found undefined where neither PGPASSFILE nor ~/.pgpass has a line that fits, or the file is not read by rights */
  export default function pgpass(
    connection: {
      readonly host?: string | undefined
      readonly port?: number | undefined
      readonly database?: string | undefined
      readonly user?: string | undefined
    },
    found: (password: string | undefined) => void,
  ): void
}
