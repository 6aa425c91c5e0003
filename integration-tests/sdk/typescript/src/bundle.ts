// SPDX-License-Identifier: Apache-2.0

// Run once by setup.sh, so that a worker starts without bundling its workflows.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundleWorkflowCode } from '@temporalio/worker';

void bundleWorkflowCode({ workflowsPath: join(__dirname, 'workflows.js') }).then(({ code }) =>
  writeFileSync(join(__dirname, 'workflow-bundle.js'), code),
);
