/**
 * kafkajs, with what is replaced inside of it. It binds its parts when it is loaded, so each replacement stands in front of it here, and no
 * other file loads it: one that did would run without them, and nothing would say so. Each of these files says why it is there.
 */
import './kafkajs-absent-topics.ts'
import './kafkajs-batches.ts'
import './kafkajs-checksums.ts'
import './kafkajs-codecs.ts'
import './kafkajs-connecting.ts'
import './kafkajs-refusals.ts'
import './kafkajs-sending.ts'
import './kafkajs-throttling.ts'
import kafkajs from 'kafkajs'
import Cluster from 'kafkajs/src/cluster/index.js'
import loggers from 'kafkajs/src/loggers/index.js'
import createSocketFactory from 'kafkajs/src/network/socketFactory.js'

const { CompressionTypes, Kafka, KafkaJSError, logLevel } = kafkajs

export { Cluster, CompressionTypes, createSocketFactory, Kafka, KafkaJSError, loggers, logLevel }
