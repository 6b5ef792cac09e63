/** The text of tidemark.yaml, and of the files beside it that hold its secrets. */
import { readFileSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { YAMLParseError } from 'yaml'
import { TidemarkError } from '../../core/errors.ts'

/** @throws TidemarkError CONFIG_MISSING, CONFIG_INVALID where it is there and not to be read */
export function settingsText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') throw new TidemarkError('CONFIG_MISSING', `there is no ${path}`, { cause: error })
    throw new TidemarkError('CONFIG_INVALID', `${path} is there and cannot be read: ${code}`, {
      cause: error,
      next: `let the account that runs this read ${path}, or give another: --config FILE`,
    })
  }
}

/** A secret stands in the file, or in a file of its own that the setting names. */
export function secretText(
  setting: { url?: string | undefined; urlFile?: string | undefined },
  folder: string,
  name: string,
): string {
  if ((setting.url === undefined) === (setting.urlFile === undefined))
    throw new TidemarkError('CONFIG_INVALID', `${name}: give either url or urlFile`)
  if (setting.url !== undefined) return setting.url
  return fileText(setting.urlFile!, folder, `${name}.urlFile`)
}

export function fileText(file: string, folder: string, name: string): string {
  const path = isAbsolute(file) ? file : join(folder, file)
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (error) {
    throw new TidemarkError('CONFIG_INVALID', `${name}: ${path} cannot be read`, { cause: error })
  }
}

/** Where a file is no YAML: without the text there, which may be a secret. */
export function faultPlace(error: unknown): string {
  if (!(error instanceof YAMLParseError)) return ''
  const [at] = error.linePos ?? []
  return `${at === undefined ? '' : `: line ${at.line}, column ${at.col}`} (${error.code})`
}
