/**
 * kafkajs 2.2.4 asks for the metadata of every topic that a client has ever used, and takes none of the answer where one of them
 * is gone: from then on a client that has used a deleted topic can neither look up another topic nor make the deleted one again.
 * Put right in kafkajs' own class (pinned to the version): whoever meets an absent topic is told so, as before, and the client
 * forgets what it has used; each use names its topics again.
 */
import { createRequire } from 'node:module'

interface Cluster {
  targetTopics: Set<string>
}

type Method = (this: Cluster, ...given: never[]) => Promise<unknown>

/** The methods that ask for metadata of all topics that the client has used. */
const ASKING = ['addMultipleTargetTopics', 'refreshMetadata', 'refreshMetadataIfNecessary'] as const

function forgettingAbsent<T extends Method>(method: T): Method {
  return async function forgetting(this: Cluster, ...given: never[]): Promise<unknown> {
    try {
      return await method.apply(this, given)
    } catch (error) {
      if ((error as { readonly type?: unknown } | null)?.type === 'UNKNOWN_TOPIC_OR_PARTITION')
        this.targetTopics = new Set()
      throw error
    }
  }
}

const loaded = createRequire(import.meta.url)('kafkajs/src/cluster/index.js') as {
  prototype: Record<(typeof ASKING)[number], Method>
}
for (const name of ASKING) loaded.prototype[name] = forgettingAbsent(loaded.prototype[name])
