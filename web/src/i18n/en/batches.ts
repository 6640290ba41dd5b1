// SPDX-License-Identifier: Apache-2.0
// Words of the batches page, English.
export default {
    text: 'A whole file of requests, worked off behind everything else.',
    make: {
        title: 'New batch', drop: 'Drop a JSONL file here, or choose one', choose: 'Choose a file', other: 'Choose another', lines: '{n} lines, {size}', first: 'The first lines', endpoint: 'Endpoint', window: 'Time it may take', windowHint: 'A duration such as 24h or 30m. What has not run by then is given up.',
        start: 'Upload and start', uploading: 'Uploading…', started: 'The batch {id} has begun.', notJson: 'Line {n} is no JSON object.', noEndpoint: 'Line {n} has no url.', mixed: 'Line {n} is for {url}, others are for {endpoint}.', example: 'A line looks like this:', tooMany: 'One file at a time.',
    },
    list: { title: 'Batches', none: 'No batch yet.', endpoint: 'Endpoint', progress: 'Progress', made: 'Created', counts: '{done} of {total}', failedCount: '{n} failed', newer: 'Newer', older: 'Older', cancel: 'Cancel', cancelIt: 'Cancel it', cancelAsk: 'Cancel {id}? What has run stays in its files.', cancelled: '{id} is being cancelled.', open: 'Details' },
    status: { validating: 'Being checked', failed: 'Refused', in_progress: 'Running', finalizing: 'Finishing', completed: 'Completed', expired: 'Ran out of time', cancelling: 'Being cancelled', cancelled: 'Cancelled' },
    detail: {
        title: 'Batch', input: 'Requests', output: 'Answers', errors: 'Errors', wrong: 'What is wrong with the file', line: 'line {n}', noOutput: 'No answers yet.', window: 'Window', began: 'Began', ended: 'Ended', metadata: 'Metadata',
        previewEmpty: 'The file is empty.', previewCut: 'Only the beginning is shown.',
    },
    files: { title: 'Files', none: 'No file yet.', name: 'Name', size: 'Size', purpose: 'Purpose', made: 'Created', expires: 'kept until {time}', delete: 'Delete', deleteAsk: 'Delete {name} for good?', deleted: '{name} is deleted.', purposeBatch: 'requests', purposeOutput: 'answers', run: 'Run' },
};
