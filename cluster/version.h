/* SPDX-License-Identifier: Apache-2.0
 *
 * The release.
 */
#ifndef CLUSTER_VERSION_H
#define CLUSTER_VERSION_H

#define STRAIT_VERSION "0.1.0"

#endif
