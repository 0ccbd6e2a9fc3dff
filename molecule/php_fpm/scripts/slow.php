<?php
function wait_for_something(): void
{
    sleep(3);
}
wait_for_something();
echo 'done by ', getmypid();
