/**
 * KeyProvider: wraps small secrets (epoch keys) for recipients, and opens them.
 *
 * - `seal` needs public material only where the recipients are RSA: the writer cannot open what it sealed.
 * - `open` throws KEY_MISSING where no private material is at hand, KEY_WRONG where there is some and none fits. It
 *   returns exactly the bytes sealed, and only when the context equals the one given to `seal`.
 */
export interface KeyProvider {
  /** Names of the recipients, for the ledger and for people. */
  readonly recipients: readonly string[]
  readonly canOpen: boolean
  seal(secret: Buffer, context: Readonly<Record<string, string>>): Promise<Buffer>
  open(sealed: Buffer, context: Readonly<Record<string, string>>): Promise<Buffer>
}
