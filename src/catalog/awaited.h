/*
 * awaited.h
 *		Tables of which a write has been passed over, while what replaces it is on its way.
 *
 * An update does not send TOASTed values that it left alone. A subscriber takes them from its own
 * row, if the writer had seen that; else it asks the provider. If the provider has overwritten them
 * by then, nobody can tell any more what the row looked like: the update is passed over, as the
 * newer state of the row is on its way. Until that is here, the row is older than the node's
 * frontier says. So an update of such a table, made on such a node, may be of another row than its
 * receivers would think. It is marked (WIRE_AWAITED), and they ask for what it did not send.
 *
 * Notes of it are rows of awaited_state, a user catalog table: decoding reads it as of the update.
 */
#ifndef REPLICATION_PLUGIN_AWAITED_H
#define REPLICATION_PLUGIN_AWAITED_H

#include "access/xlogdefs.h"
#include "utils/relcache.h"

#include "model/version.h"

/*
 * True if writes of a table (its root) have been passed over, and not all that replaces them is
 * known to be here.
 */
extern bool awaited_any(Relation root);

/*
 * Notes that the running transaction, which applies one of node origin, has passed over a write of
 * a table. What replaces it comes with what the frontier until (text) covers.
 */
extern void awaited_note(Relation root, NodeId origin, XLogRecPtr origin_lsn, const char *until);

#endif							/* REPLICATION_PLUGIN_AWAITED_H */
