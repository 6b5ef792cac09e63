/** Every kind of object that is read, in the order in which objects of equal rank are made. */
import { aggregates } from './aggregates.ts'
import { baseTypes } from './base-types.ts'
import { collations } from './collations.ts'
import { casts, conversions } from './conversions.ts'
import { database } from './database.ts'
import { defaultPrivileges } from './default-privileges.ts'
import { eventTriggers } from './event-triggers.ts'
import { extensions } from './extensions.ts'
import { foreignDataWrappers, foreignServers, userMappings } from './foreign-data.ts'
import { foreignTables } from './foreign-tables.ts'
import { initialRights } from './initial-rights.ts'
import type { CatalogKind } from './kind.ts'
import { accessMethods, languages, transforms } from './languages.ts'
import { memberFunctions } from './member-functions.ts'
import { operatorClasses, operatorFamilies, operators } from './operators.ts'
import { publications } from './publications.ts'
import { roles } from './roles.ts'
import { routines } from './routines.ts'
import { schemas } from './schemas.ts'
import { sequences } from './sequences.ts'
import { statistics } from './statistics.ts'
import { tables } from './tables.ts'
import {
  textSearchConfigurations,
  textSearchDictionaries,
  textSearchParsers,
  textSearchTemplates,
} from './text-search.ts'
import { types } from './types.ts'
import { views } from './views.ts'

export const KINDS: readonly CatalogKind[] = [
  roles,
  schemas,
  extensions,
  memberFunctions,
  baseTypes,
  types,
  tables,
  sequences,
  routines,
  aggregates,
  operators,
  operatorFamilies,
  operatorClasses,
  casts,
  conversions,
  languages,
  transforms,
  accessMethods,
  textSearchParsers,
  textSearchTemplates,
  textSearchDictionaries,
  textSearchConfigurations,
  views,
  foreignDataWrappers,
  foreignServers,
  userMappings,
  foreignTables,
  collations,
  statistics,
  initialRights,
  defaultPrivileges,
  publications,
  database,
  eventTriggers,
]
