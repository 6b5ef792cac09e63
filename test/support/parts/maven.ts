/** Fetches Java programs from Maven's public registry by name, into a cache outside the checkout. */
import { execFile, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

export const CACHE = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'tidemark')

/** Why Java parts cannot run here; undefined where they can. */
export function whyNoJava(): string | undefined {
  const java = spawnSync('java', ['-version'], { encoding: 'utf8' })
  const version = /version "(\d+)/.exec(java.stderr ?? '')?.[1]
  if (version === undefined) return 'there is no Java'
  if (Number(version) < 17) return `Java is ${version}, 17 is needed`
  if (spawnSync('mvn', ['-v']).status !== 0) return 'there is no Maven'
  return undefined
}

export interface Coordinates {
  readonly group: string
  readonly artifact: string
  readonly version: string
}

/** A folder with the jars of the artifacts and everything they need. Two processes that fetch at once do not meet: the last step is a rename. */
export async function fetchJars(name: string, artifacts: readonly Coordinates[]): Promise<string> {
  const folder = join(CACHE, name)
  if (existsSync(join(folder, 'complete'))) return folder
  const work = `${folder}.${process.pid}`
  await mkdir(work, { recursive: true })
  const dependencies = artifacts
    .map(
      (a) =>
        `<dependency><groupId>${a.group}</groupId><artifactId>${a.artifact}</artifactId><version>${a.version}</version></dependency>`,
    )
    .join('')
  await writeFile(
    join(work, 'pom.xml'),
    `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>local</groupId><artifactId>parts</artifactId><version>1</version><packaging>pom</packaging><dependencies>${dependencies}</dependencies></project>`,
  )
  console.log(
    `fetching ${artifacts.map((a) => `${a.artifact} ${a.version}`).join(', ')} (once; kept in ${folder})`,
  )
  await run(
    'mvn',
    [
      '-B',
      '-q',
      'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies',
      '-DoutputDirectory=lib',
      '-DincludeScope=runtime',
    ],
    { cwd: work, maxBuffer: 1 << 26 },
  )
  await finish(work, folder)
  return folder
}

/** An archive from the registry, unpacked. */
export async function fetchArchive(name: string, artifact: Coordinates, classifier: string): Promise<string> {
  const folder = join(CACHE, name)
  if (existsSync(join(folder, 'complete'))) return folder
  const work = `${folder}.${process.pid}`
  await mkdir(work, { recursive: true })
  console.log(`fetching ${artifact.artifact} ${artifact.version} (once; kept in ${folder})`)
  const packed = `${artifact.group}:${artifact.artifact}:${artifact.version}:tar.gz:${classifier}`
  // 2.8: later ones want the artifact's parent as well, which is not in the registry.
  const repository = join(CACHE, 'maven')
  await run(
    'mvn',
    [
      '-B',
      '-q',
      `-Dmaven.repo.local=${repository}`,
      'org.apache.maven.plugins:maven-dependency-plugin:2.8:get',
      `-Dartifact=${packed}`,
      '-Dtransitive=false',
    ],
    { cwd: work, maxBuffer: 1 << 26 },
  )
  const file = `${artifact.artifact}-${artifact.version}-${classifier}.tar.gz`
  await run('tar', [
    'xzf',
    join(repository, ...artifact.group.split('.'), artifact.artifact, artifact.version, file),
    '-C',
    work,
  ])
  await finish(work, folder)
  return folder
}

/** A jar by itself; its path. */
export async function fetchJarFile({ group, artifact, version }: Coordinates): Promise<string> {
  const repository = join(CACHE, 'maven')
  const jar = join(repository, ...group.split('.'), artifact, version, `${artifact}-${version}.jar`)
  if (existsSync(jar)) return jar
  console.log(`fetching ${artifact} ${version} (once; kept in ${repository})`)
  await run(
    'mvn',
    [
      '-B',
      '-q',
      `-Dmaven.repo.local=${repository}`,
      'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:get',
      `-Dartifact=${group}:${artifact}:${version}`,
      '-Dtransitive=false',
    ],
    { maxBuffer: 1 << 26 },
  )
  return jar
}

/** A jar that runs by itself, from the registry; its path. */
export async function fetchRunnable(artifact: Coordinates, classifier: string): Promise<string> {
  const { group, artifact: name, version } = artifact
  const repository = join(CACHE, 'maven')
  const jar = join(repository, ...group.split('.'), name, version, `${name}-${version}-${classifier}.jar`)
  if (existsSync(jar)) return jar
  console.log(`fetching ${name} ${version} (once; kept in ${repository})`)
  await run(
    'mvn',
    [
      '-B',
      '-q',
      `-Dmaven.repo.local=${repository}`,
      'org.apache.maven.plugins:maven-dependency-plugin:2.8:get',
      `-Dartifact=${group}:${name}:${version}:jar:${classifier}`,
      '-Dtransitive=false',
    ],
    { maxBuffer: 1 << 26 },
  )
  return jar
}

async function finish(work: string, folder: string): Promise<void> {
  await writeFile(join(work, 'complete'), '')
  await rename(work, folder).catch(async (error: unknown) => {
    // Another process was faster.
    if (!existsSync(join(folder, 'complete'))) throw error
    await rm(work, { recursive: true, force: true })
  })
}
