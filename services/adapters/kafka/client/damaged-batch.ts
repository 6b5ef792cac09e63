/** A batch that is not what was written. */
import { TidemarkError } from '../../../core/errors.ts'

/** Asked for again, it may come whole; else what it held is lost. */
export class DamagedBatchError extends TidemarkError {
  constructor(offset: bigint) {
    super('LOG_HOLE', `the batch at offset ${offset} is damaged: its checksum is another`)
  }
}
