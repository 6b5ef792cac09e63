/**
 * Whether topics have the partitions that are written: as many as `kafka.partitions` of each table's, one of the others. Records say
 * their partition, so that those which somebody added stay empty and do no harm; but a key keeps its partition only while the number
 * that is written stays.
 */
import type { Finding } from '../../../core/finding.ts'
import { boardTopic, transactionsTopic } from '../records/topic-name.ts'

export interface CountedTopic {
  readonly name: string
  readonly partitions: number
}

export function examinePartitions(
  topics: readonly CountedTopic[],
  { prefix, partitions }: { readonly prefix: string; readonly partitions: number },
): readonly Finding[] {
  const single = new Set([transactionsTopic(prefix), boardTopic(prefix)])
  const shared = topics.filter(({ name }) => !single.has(name))
  const fewest = Math.min(...shared.map((topic) => topic.partitions))
  const most = Math.max(...shared.map((topic) => topic.partitions))
  if (shared.length > 0 && fewest > partitions)
    return [
      refused(
        `the topics of ${prefix} have ${fewest} partitions each or more, kafka.partitions is ${partitions}: keys would move to other partitions`,
        `set kafka.partitions to ${fewest}, or use another prefix`,
      ),
    ]
  return topics.flatMap((topic) => {
    const wanted = single.has(topic.name) ? 1 : partitions
    const what = `topic ${topic.name} has ${topic.partitions} partitions, ${wanted} are written`
    if (topic.partitions < wanted)
      return [
        refused(
          what,
          most < partitions
            ? `set kafka.partitions to ${fewest}, or use another prefix`
            : `add partitions to this topic (kafka-topics.sh --alter --topic ${topic.name} --partitions ${wanted}), or use another prefix`,
        ),
      ]
    if (topic.partitions === wanted) return []
    return [
      {
        level: 'warn' as const,
        code: 'KAFKA_PARTITIONS',
        what: `${what}: the others stay empty`,
        fix: 'nothing has to be done; more partitions are used with a new kafka.prefix alone',
      },
    ]
  })
}

function refused(what: string, fix: string): Finding {
  return { level: 'refuse', code: 'KAFKA_PARTITIONS', what, fix }
}
