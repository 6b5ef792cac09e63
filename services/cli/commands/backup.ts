/** backup base. */
import type { Command } from 'commander'
import { audit } from '../../app/operations/audit.ts'
import { takeBase } from '../../app/operations/take-base.ts'
import type { Run } from '../run.ts'
import { bytesText, countText } from '../../terminal/output.ts'

export function registerBackup(program: Command, run: Run): void {
  const backup = program.command('backup').description('take a backup by hand')
  backup
    .command('base')
    .description('copy all tables now, beside the running stream: later restores start from here')
    .action(async (_, command: Command) =>
      run(command, async (context) => {
        const { output } = context
        const { repository, base } = await takeBase(context.config(), context.signal, (t) =>
          output.event(
            { event: 'base-table', ...t },
            `  ${t.schema}.${t.name}: ${countText(t.rows)} rows, ${bytesText(t.bytes)}`,
          ),
        )
        const where = await audit(repository, context.actor, 'backup base', base.base)
        output.line(
          `Base ${base.base}: ${countText(base.rows)} rows, ${bytesText(base.bytes)}; of use for points from ${base.closing} on.`,
        )
        output.result({
          base: base.base,
          closing: base.closing,
          rows: base.rows,
          bytes: base.bytes,
          audit: where,
        })
      }),
    )
}
