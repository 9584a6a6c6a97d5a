/*
 * kept.h
 *		Changes of tables that had to wait are applied.
 */
#ifndef REPLICATION_PLUGIN_KEPT_H
#define REPLICATION_PLUGIN_KEPT_H

#include "apply/apply.h"

/*
 * Works on the tables that wait, those that are due. Returns whether any table waits. Outside of
 * transactions.
 */
extern bool kept_round(ApplyContext *cx);

#endif							/* REPLICATION_PLUGIN_KEPT_H */
