<?php
function preloaded(): bool
{
    return true;
}
