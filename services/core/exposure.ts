/** Secrets on their way over a network or in a process list, told by addresses and words alone. */
import type { Finding } from './finding.ts'

/** Whether a host is this machine: what goes there goes over no network. A folder is a socket. */
export function isHere(host: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[?::1\]?|)$/.test(host) || host.startsWith('/')
}

/** Passwords among the arguments of a process: every user of the machine can list them. */
export function namedPasswords(args: readonly string[]): Finding | undefined {
  if (!args.some((arg) => /[a-z][a-z0-9+.-]*:\/\/[^/@\s:]*:[^@/\s]+@/i.test(arg))) return undefined
  return {
    level: 'warn',
    code: 'PASSWORD_IN_ARGUMENTS',
    what: 'a password stands in the arguments of this command: everybody on this machine can list them while it runs',
    fix: 'leave it out of the URL: PGPASSFILE or ~/.pgpass; source.urlFile in tidemark.yaml',
  }
}

/** A key service that is spoken to without encryption: data keys and its token go over the network. */
export function clearService(address: string): Finding | undefined {
  const { protocol, hostname } = new URL(address)
  if (protocol !== 'http:' || isHere(hostname)) return undefined
  return {
    level: 'warn',
    code: 'KEYS_CLEAR',
    what: `the key service ${hostname} is spoken to over http: data keys and its token go over the network in the clear`,
    fix: 'its https address in the recipient file of both sides of the keys folder',
  }
}

/** Logins of the change log and of its registry that go to another machine without encryption. */
export function clearLog(log: {
  readonly brokers: readonly string[]
  readonly hasTls: boolean
  readonly hasLogin: boolean
  readonly registry: { readonly url: string; readonly password?: string | undefined }
}): Finding[] {
  const findings: Finding[] = []
  const broker = log.brokers.find((address) => !isHere(address.replace(/:\d+$/, '')))
  if (broker !== undefined && log.hasLogin && !log.hasTls)
    findings.push({
      level: 'warn',
      code: 'KAFKA_CLEAR',
      what: `the brokers (${broker}) are logged in to without TLS: the login and all rows go over the network in the clear`,
      fix: 'kafka.tls in tidemark.yaml, with caFile where the authority is your own, and the listener that speaks it',
    })
  const { protocol, hostname, password } = new URL(log.registry.url)
  if (protocol === 'http:' && !isHere(hostname) && (log.registry.password !== undefined || password !== ''))
    findings.push({
      level: 'warn',
      code: 'REGISTRY_CLEAR',
      what: `the schema registry ${hostname} is spoken to over http: its password goes over the network in the clear`,
      fix: 'its https address as kafka.registry.url',
    })
  return findings
}
