/*
 * awaited.h
 *		Tables with awaited values: a write of them was passed over, and the newer state is on its
 *		way.
 *
 * An update does not send TOASTed values that it left alone. A subscriber takes them from its own
 * row if the writer had seen that row; otherwise it asks the provider. If the provider has
 * overwritten them by then, no node can tell what the row looked like. The update is then passed
 * over, as the newer state of the row is on its way. Until that arrives, the row is older than the
 * node's frontier tells. So an update of such a table, made on such a node, may be of another row
 * than its receivers would assume. It is marked (WIRE_AWAITED), and the receivers ask for the
 * values that it did not send.
 *
 * This is noted in rows of awaited_state, a user catalog table, which decoding reads as of the
 * update.
 */
#ifndef REPLICATION_PLUGIN_AWAITED_H
#define REPLICATION_PLUGIN_AWAITED_H

#include "access/xlogdefs.h"
#include "utils/relcache.h"

#include "model/version.h"

/*
 * Returns true if writes of a table (its root) were passed over and not all of the newer states are
 * known to have arrived.
 */
extern bool awaited_any(Relation root);

/*
 * Notes that the running transaction, which applies a transaction of node origin, has passed over a
 * write of a table. The newer state has arrived when this node's frontier covers "until" (a
 * frontier as text).
 */
extern void awaited_note(Relation root, NodeId origin, XLogRecPtr origin_lsn, const char *until);

#endif							/* REPLICATION_PLUGIN_AWAITED_H */
