/** Settings with a unit: times and sizes, as text that becomes a number within its limits. */
import { z } from 'zod'

export const UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}
export const SIZES: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 }

export function duration(least: string, most: string, missing: string) {
  return measured(UNITS, least, most, missing, 'a time such as 5s or 500ms')
}

export function size(least: string, most: string, missing: string) {
  return measured(SIZES, least, most, missing, 'a size such as 32MiB')
}

function measured(
  units: Readonly<Record<string, number>>,
  least: string,
  most: string,
  missing: string,
  what: string,
) {
  return text(units, least, most, `${what}; ${least} to ${most}, default ${missing}`, what)
    .default(missing)
    .transform((value) => read(units, value)!)
}

/** For settings that may be left out. */
export function maybe(units: typeof UNITS, least: string, most: string, description: string, what: string) {
  return text(units, least, most, description, what)
    .transform((value) => read(units, value)!)
    .optional()
}

function read(units: Readonly<Record<string, number>>, value: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([A-Za-z]+)$/.exec(value.trim())
  const unit = units[match?.[2] ?? '']
  return match === null || unit === undefined ? undefined : Number(match[1]) * unit
}

function text(
  units: Readonly<Record<string, number>>,
  least: string,
  most: string,
  description: string,
  what: string,
) {
  const low = read(units, least)!
  const high = read(units, most)!
  return z
    .string()
    .superRefine((given, context) => {
      const value = read(units, given)
      if (value === undefined)
        context.addIssue({
          code: 'custom',
          message: `"${given.slice(0, 30)}" is not ${what}: a number and one of ${Object.keys(units).join(', ')}, from ${least} to ${most}`,
        })
      else if (value < low || value > high)
        context.addIssue({ code: 'custom', message: `${given} is outside ${least} to ${most}` })
    })
    .meta({ description })
}
