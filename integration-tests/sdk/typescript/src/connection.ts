// SPDX-License-Identifier: Apache-2.0

import { hostname } from 'node:os';
import { Client, Connection } from '@temporalio/client';
import type { Options } from './main';

export const identity = `typescript-client@${hostname()}:${process.pid}`;

export async function connect(o: Options): Promise<Client> {
  const connection = await Connection.connect({ address: o.address, connectTimeout: '10s' });
  return new Client({ connection, namespace: o.namespace, identity });
}
